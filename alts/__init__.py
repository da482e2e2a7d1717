"""Tests distribution packages end to end on throw-away machines."""
