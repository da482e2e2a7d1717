"""The worker's folder and its slots, each with an identity.

A worker holds a slot with flock(2). The kernel releases the lock however the process ends, so a process that can lock
a slot knows that the last holder is dead, and may remove what it left behind.
"""

from __future__ import annotations

import itertools
import os
import shutil
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from alts.host.process import kill_at_home_below
from alts.shared.atomic_file import write_atomically
from alts.shared.file_lock import try_lock

SPOOL = "spool"
REPORTS = "reports"


@dataclass(frozen=True)
class DeadSlot:
    """A slot whose holder has died. The lock is held during WorkFolder.dead()."""

    identity: str
    spool: Path
    reports: Path


class WorkFolder:
    """One slot below `root`, held until close() or the end of the process.

    `identity` belongs to the slot and outlives its holders. Everything that a holder starts is labelled with it.
    """

    def __init__(self, root: Path) -> None:
        """Take the free slot with the lowest number. Raises OSError if `root` is not writable."""
        self._root = root.absolute()
        self._root.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            lock = try_lock(self._root / f"{number}.lock")
            if lock is not None:
                self._lock, self.path = lock, self._root / str(number)
                break
        self.identity = _identity(self.path)
        self.shared = self.path / "shared"
        """For files that all tasks share, e.g. the provider's socket."""
        self.spool = self.path / SPOOL
        """For artifacts on their way to the store. Kept for the slot's next holder."""
        self.reports = self.path / REPORTS
        """For reports on their way to the ledger. Kept for the slot's next holder."""

    @contextmanager
    def attempt(self, task_id: str, attempt: int) -> Iterator[Path]:
        """Make an empty folder for one attempt; remove it after the `with` block."""
        folder = self.path / "tasks" / f"{task_id}-{attempt}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def dead(self) -> Iterator[list[DeadSlot]]:
        """Lock and yield the other slots whose holders are dead. After the `with` block their tasks are gone."""
        with _locks_of_others(self._root, self.path.name) as slots:
            yield [DeadSlot(_identity(slot), slot / SPOOL, slot / REPORTS) for slot in slots]
            for slot in slots:
                _empty(slot)

    def neighbours(self) -> set[str]:
        """Return the identities of all slots of this host, own included, with living or dead holders."""
        return {path.read_text().strip() for path in self._root.glob("*/identity")}

    def tidy(self, active: Callable[[], Collection[tuple[str, int]]]) -> None:
        """Remove own folders of attempts that do not run. `active` is called after listing, so new folders are safe."""
        found = list((self.path / "tasks").glob("*"))
        busy = {f"{task_id}-{attempt}" for task_id, attempt in active()}
        for folder in found:
            if folder.name not in busy:
                shutil.rmtree(folder, ignore_errors=True)

    def reset(self) -> None:
        """Remove what the slot's previous holder left behind. Call it only before the first attempt."""
        _empty(self.path)
        self.shared.mkdir(parents=True, exist_ok=True)

    def close(self) -> None:
        """Remove all task folders and release the slot. Spool and reports stay."""
        _empty(self.path)
        os.close(self._lock)


@contextmanager
def _locks_of_others(root: Path, own: str) -> Iterator[list[Path]]:
    held: list[int] = []
    slots: list[Path] = []
    try:
        for path in sorted(root.glob("*.lock")):
            if path.stem == own or not (root / path.stem / "identity").exists():
                continue
            lock = try_lock(path)
            if lock is not None:
                held.append(lock)
                slots.append(root / path.stem)
        yield slots
    finally:
        for lock in held:
            os.close(lock)


def _identity(slot: Path) -> str:
    """Read the slot's identity, made once and kept through crashes: the next holder finds what the last one left."""
    path = slot / "identity"
    slot.mkdir(parents=True, exist_ok=True)
    if not path.exists() or not path.read_text().strip():
        write_atomically(path, uuid.uuid4().hex.encode(), durable=True)
    return path.read_text().strip()


def _empty(slot: Path) -> None:
    # A terraform or ansible process that waits for its engine outlives a killed worker.
    for home in ("tasks", "shared/pool"):
        kill_at_home_below(slot / home)
    for name in ("tasks", "shared"):
        shutil.rmtree(slot / name, ignore_errors=True)
