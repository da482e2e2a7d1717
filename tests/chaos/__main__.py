"""`python -m tests.chaos --seed 1 --runs 200 --tasks 24`: see `make chaos`."""

from __future__ import annotations

import sys

from tests.chaos.command import main

sys.exit(main())
