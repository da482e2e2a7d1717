"""A small disk that can be filled: a separate tmpfs."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

_SIZE = 64 * 1024 * 1024  # bytes


class SmallDisk:
    """Mounted on `folder` between `__enter__` and `__exit__`. Only root can do that."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ballast = folder / "ballast"

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "chaos", str(self._folder)], check=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # A lazy unmount, so that a process that still uses the disk cannot block us.
        subprocess.run(["umount", "--lazy", str(self._folder)], check=True)

    def fill(self) -> None:
        with suppress(OSError), self._ballast.open("wb", buffering=0) as file:  # until there is no space left
            while True:
                file.write(bytes(1024 * 1024))
        with suppress(OSError), self._ballast.open("ab", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    def make_room(self, *, megabytes: int) -> None:
        """Free some of the filled space."""
        with self._ballast.open("r+b") as file:
            file.truncate(self._ballast.stat().st_size - (megabytes << 20))

    def clear(self) -> None:
        self._ballast.unlink(missing_ok=True)
