"""The mark: a small file beside the ledger that names the ledger and its last history entry.

A ledger that was lost or replaced by an older copy can't tell. Comparing it with the mark can.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from errno import EBADF
from fcntl import LOCK_EX, LOCK_UN, lockf
from pathlib import Path

from alts.shared.atomic_file import sync_folder
from alts.shared.errors import ConfigurationError
from alts.shared.periodic import Loop

log = logging.getLogger(__name__)

SYNC_SECONDS = 1.0
_SLOT = 512
"""Bytes. A disk writes a sector as a whole or not at all, and the other slot stays valid."""
_SLOTS = 2


@dataclass(frozen=True, kw_only=True)
class Mark:
    """State of the ledger at its last commit."""

    ledger: str
    """The ledger's identity."""
    highest: int
    """Number of the last history entry; 0 before the first."""
    at: float
    """Time of the commit, in seconds since the epoch."""
    boot: str | None = None
    """Id of the boot during which the ledger was opened; None if it was closed in order."""

    @property
    def code(self) -> str:
        """The name of this state in messages and options for operators, e.g. "1f0e9a3c-1742"."""
        return f"{self.ledger[:8]}-{self.highest}"


def this_boot() -> str:
    """Return the boot id of the machine, which differs after each start (random(4))."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


class MarkFile:
    """The file of the mark. Two slots with checksums are written in turn, so an interrupted write leaves the other.

    A write is in the page cache when it returns, so kill -9 does not lose it. It is on disk within `sync_seconds`;
    until then a power failure can lose it. Several processes may share the file.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float] = time.time,
        boot: Callable[[], str] = this_boot,
        sync_seconds: float = SYNC_SECONDS,
    ) -> None:
        """Open the file, or create it. Raises ConfigurationError."""
        self.path = path
        self._clock = clock
        self.boot = boot()
        self._sync_seconds = sync_seconds
        self._threads = threading.Lock()
        self._unsynced = False
        self._works = True
        self._last: tuple[bytes, tuple[int, Mark]] | None = None
        self._loop = Loop("ledger-mark", self._sync)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigurationError("state_folder", f"cannot write {path}: {error.strerror}") from error

    def read(self) -> Mark | None:
        """Return the newest mark; None if the file is new. Raises ConfigurationError if both slots are damaged."""
        with self._turn():
            newest = self._newest()
            if newest is None and os.fstat(self._file).st_size:
                raise ConfigurationError(
                    "state_folder",
                    f"{self.path}, the mark of the ledger, is damaged",
                    resolution="check that the ledger is the right one, then remove the mark",
                )
        return newest[1] if newest else None

    def open(self, *, ledger: str, highest: int) -> None:
        """Write the mark of a ledger that is now in use. It is on disk when this returns. Raises OSError."""
        self._write(Mark(ledger=ledger, highest=highest, at=self._clock(), boot=self.boot))
        os.fsync(self._file)
        sync_folder(self.path.parent)
        self._loop.start()

    def advance(self, entry: int) -> None:
        """Record a committed history entry. Never raises: a committed change must not be reported as a failure."""
        try:
            with self._turn():
                number, mark = self._newest() or (0, None)
                # Another thread or process may have recorded a later entry.
                if mark is not None and mark.highest < entry:
                    self._put(number + 1, replace(mark, highest=entry, at=self._clock(), boot=self.boot))
                    self._unsynced = self._works = True
        except OSError as error:
            if self._works:
                log.error("the ledger's mark cannot be written", extra={"reason": str(error)})  # noqa: TRY400
            self._works = False

    def close(self, *, in_order: bool) -> None:
        """Sync and close the file. `in_order`: the ledger was closed and no damage was found."""
        self._loop.close()
        with suppress(OSError):
            with self._turn():
                number, mark = self._newest() or (0, None)
                if in_order and mark is not None and mark.boot is not None:
                    self._put(number + 1, replace(mark, boot=None))
            os.fsync(self._file)
        with self._threads:
            os.close(self._file)
            self._file = -1

    def _sync(self) -> float:
        if self._unsynced:
            self._unsynced = False
            os.fsync(self._file)
        return self._sync_seconds

    def _write(self, mark: Mark) -> None:
        with self._turn():
            number, _ = self._newest() or (0, None)
            self._put(number + 1, mark)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Exclude the other threads and the other processes that share the file."""
        with self._threads:
            if self._file < 0:
                # The number of a closed descriptor may belong to another file by now.
                raise OSError(EBADF, "closed already")
            lockf(self._file, LOCK_EX)
            try:
                yield
            finally:
                lockf(self._file, LOCK_UN)

    def _newest(self) -> tuple[int, Mark] | None:
        raw = os.pread(self._file, _SLOT * _SLOTS, 0)
        if self._last is None or self._last[0] != raw:
            found = [one for start in range(0, len(raw), _SLOT) if (one := _decoded(raw[start : start + _SLOT]))]
            if not found:
                return None
            self._last = raw, max(found, key=lambda one: one[0])
        return self._last[1]

    def _put(self, number: int, mark: Mark) -> None:
        os.pwrite(self._file, _encoded(number, mark), number % _SLOTS * _SLOT)
        self._last = os.pread(self._file, _SLOT * _SLOTS, 0), (number, mark)


def _encoded(number: int, mark: Mark) -> bytes:
    text = json.dumps({"number": number, **vars(mark)}).encode()
    return f"{zlib.crc32(text):08x} ".encode().ljust(9) + text.ljust(_SLOT - 10) + b"\n"


def _decoded(slot: bytes) -> tuple[int, Mark] | None:
    checksum, _, text = slot.rstrip(b" \n").partition(b" ")
    if checksum != b"%08x" % zlib.crc32(text) or not text:
        return None
    values = json.loads(text)
    return values.pop("number"), Mark(**values)
