"""Moments as a Docker engine writes them."""

from __future__ import annotations

import re
from datetime import datetime

# datetime parses at most six fractional digits.
_FRACTION = re.compile(r"\.\d+")


def epoch_seconds(text: str) -> int:
    """Return e.g. "2026-11-27T02:31:04.123456789Z" in whole seconds since the epoch. Raises ValueError."""
    return int(datetime.fromisoformat(_FRACTION.sub("", text)).timestamp())
