"""Tests distribution packages end to end on throw-away machines."""

import gc

# By default Python looks for garbage after every 700 new objects, which is a fifth of the time of a start.
gc.set_threshold(10_000, 20, 20)
