"""The files that SQLite keeps a ledger in, seen from outside: there, empty, complete."""

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
    """A database of SQLite's."""

    path: Path
    """Without symbolic links, as SQLite itself opens it: its write-ahead log lies beside that name."""

    @classmethod
    def at(cls, name: str) -> LedgerFile:
        """The file that a database address names."""
        return cls(Path(os.path.realpath(name)))

    @property
    def wal(self) -> Path:
        return _with_suffix(self.path, "-wal")

    @property
    def size(self) -> int | None:
        """In bytes; None where it is not there."""
        return _size(self.path)

    @property
    def wal_size(self) -> int | None:
        """Of the write-ahead log."""
        return _size(self.wal)

    @property
    def names(self) -> int:
        """How many hard links it has; 0 where it is not there."""
        try:
            return self.path.stat().st_nlink
        except FileNotFoundError:
            return 0

    def has_wal(self) -> bool:
        """Whether a write-ahead log is there that SQLite will read.

        One with another header is an empty one to SQLite, whatever follows (sqlite.org/fileformat2.html, "Recovery").
        """
        try:
            with self.wal.open("rb") as file:
                return _is_wal_header(file.read(_WAL_HEADER))
        except FileNotFoundError:
            return False

    def set_aside(self, suffix: str) -> Path:
        """Rename all that is there, so that it can still be opened; the new name of the database."""
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
