"""`python -m tests.chaos --seed 1 --runs 200 --tasks 24`: see `make chaos`."""

from __future__ import annotations

import signal
import sys

from tests.chaos.command import main

# Whoever ends it any other way than by Ctrl-C must not find its servers running afterwards.
signal.signal(signal.SIGTERM, signal.default_int_handler)
sys.exit(main())
