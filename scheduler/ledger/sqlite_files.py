"""SQLite's files of a ledger: their existence, size and headers. Nothing here opens the database."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# sqlite.org/fileformat2.html, "The WAL Header": the last bit says whether the checksums are big-endian.
_WAL_MAGIC = 0x377F0682
_WAL_HEADER = 32


@dataclass(frozen=True)
class LedgerFile:
    """The file of an SQLite database, which may not exist."""

    path: Path
    """Real path without symbolic links. SQLite resolves links, too, and puts the write-ahead log beside that path."""

    @classmethod
    def at(cls, name: str) -> LedgerFile:
        """Resolve the path of a database URL."""
        return cls(Path(os.path.realpath(name)))

    @property
    def wal(self) -> Path:
        """Path of the write-ahead log."""
        return _with_suffix(self.path, "-wal")

    @property
    def size(self) -> int | None:
        """Size in bytes; None if the file is missing."""
        return _size(self.path)

    @property
    def wal_size(self) -> int | None:
        """Size of the write-ahead log in bytes; None if it is missing."""
        return _size(self.wal)

    @property
    def names(self) -> int:
        """Number of hard links; 0 if the file is missing."""
        try:
            return self.path.stat().st_nlink
        except FileNotFoundError:
            return 0

    def has_wal(self) -> bool:
        """Whether there is a write-ahead log that SQLite will read.

        SQLite treats a log with an invalid header as empty (sqlite.org/fileformat2.html, "Recovery").
        """
        try:
            with self.wal.open("rb") as file:
                return _is_wal_header(file.read(_WAL_HEADER))
        except FileNotFoundError:
            return False

    def set_aside(self, suffix: str) -> Path:
        """Rename all files of the database, so that it can still be opened. Return the database's new path."""
        target = _with_suffix(self.path, suffix)
        for end in ("-wal", "-shm", ""):
            with suppress(FileNotFoundError):
                _with_suffix(self.path, end).rename(_with_suffix(target, end))
        return target


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _with_suffix(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _is_wal_header(header: bytes) -> bool:
    if len(header) < _WAL_HEADER:
        return False
    magic = int.from_bytes(header[:4], "big")
    order = ">" if magic & 1 else "<"
    return magic & ~1 == _WAL_MAGIC and struct.unpack(">2I", header[24:]) == _checksum(
        iter(struct.unpack(f"{order}6I", header[:24]))
    )


def _checksum(words: Iterator[int]) -> tuple[int, int]:
    """sqlite.org/fileformat2.html, "Checksum Algorithm"."""
    first = second = 0
    for word in words:
        first = (first + word + second) & 0xFFFFFFFF
        second = (second + next(words) + first) & 0xFFFFFFFF
    return first, second
