"""Walk folders that other processes change meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def below(folder: Path) -> Iterator[Path]:
    """Yield every file and folder below it. Skip those that disappear meanwhile; pathlib's own globs raise on them."""
    for at, folders, files in os.walk(folder):
        yield from (Path(at, name) for name in (*folders, *files))
