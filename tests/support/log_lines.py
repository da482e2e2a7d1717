"""Log lines as the processes write them."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from alts.shared.logs import line_formatter


@contextmanager
def captured_lines(logger: str = "alts") -> Iterator[list[str]]:
    """Yield a list that holds, after the block, what `logger` and the loggers below it have logged from INFO on."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(line_formatter())
    source = logging.getLogger(logger)
    level = source.level
    source.addHandler(handler)
    source.setLevel(logging.INFO)
    lines: list[str] = []
    try:
        yield lines
    finally:
        source.removeHandler(handler)
        source.setLevel(level)
        lines += stream.getvalue().splitlines()
