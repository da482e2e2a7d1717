"""`python -m tests.chaos --seed 1 --runs 200 --tasks 24`: see `make chaos`."""

from __future__ import annotations

import signal
import sys

from tests.chaos.command import main

# A supervisor ends it by SIGTERM, and its servers must not survive it.
signal.signal(signal.SIGTERM, signal.default_int_handler)
sys.exit(main())
