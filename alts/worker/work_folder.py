"""The folder that a worker works in, and the identity that goes with it.

A slot of the folder is held with flock(2), which the kernel gives back however the process ends. Who can lock a slot
knows that its last holder is dead, and may remove what that one has left behind.
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
from alts.shared.file_lock import try_lock

SPOOL = "spool"
REPORTS = "reports"


@dataclass(frozen=True)
class DeadSlot:
    """A slot whose holder has died, locked for as long as it is looked at."""

    identity: str
    spool: Path
    reports: Path


class WorkFolder:
    """One slot below `root`, held until close() or the end of the process.

    `identity` belongs to the slot and outlives its holders. It is a label on everything that a holder starts.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._root.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            lock = try_lock(self._root / f"{number}.lock")
            if lock is not None:
                self._lock, self.path = lock, self._root / str(number)
                break
        self.identity = _identity(self.path)
        self.shared = self.path / "shared"
        """For what serves every task, such as the provider's socket."""
        self.spool = self.path / SPOOL
        """For artifacts on their way to the store: kept for the next holder of the slot."""
        self.reports = self.path / REPORTS
        """For reports on their way to the ledger: kept, too."""

    @contextmanager
    def attempt(self, task_id: str, attempt: int) -> Iterator[Path]:
        """An empty folder for one attempt, gone afterwards."""
        folder = self.path / "tasks" / f"{task_id}-{attempt}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def dead(self) -> Iterator[list[DeadSlot]]:
        """The other slots whose holders are dead; what was left of attempts there is gone afterwards.

        Nobody can take such a slot while the `with` lasts.
        """
        with _locks_of_others(self._root, self.path.name) as slots:
            yield [DeadSlot(_identity(slot), slot / SPOOL, slot / REPORTS) for slot in slots]
            for slot in slots:
                _empty(slot)

    def neighbours(self) -> set[str]:
        """The identities of all slots of this host, the own one included, whether their holders live or not."""
        return {path.read_text().strip() for path in self._root.glob("*/identity")}

    def tidy(self, active: Callable[[], Collection[tuple[str, int]]]) -> None:
        """Remove the own slot's folders of attempts that are not at work, asked for after the look at the folders."""
        found = list((self.path / "tasks").glob("*"))
        busy = {f"{task_id}-{attempt}" for task_id, attempt in active()}
        for folder in found:
            if folder.name not in busy:
                shutil.rmtree(folder, ignore_errors=True)

    def reset(self) -> None:
        """Remove what the slot's previous owner left behind. Only before the first attempt."""
        _empty(self.path)
        self.shared.mkdir(parents=True, exist_ok=True)

    def close(self) -> None:
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
    """Made once for a slot: kept through crashes, so that the next holder finds what the last one left."""
    path = slot / "identity"
    slot.mkdir(parents=True, exist_ok=True)
    if not path.exists() or not path.read_text().strip():
        path.write_text(uuid.uuid4().hex)
    return path.read_text().strip()


def _empty(slot: Path) -> None:
    # A terraform or an ansible that waits for its engine outlives a worker that was killed.
    kill_at_home_below(slot / "tasks")
    for name in ("tasks", "shared"):
        shutil.rmtree(slot / name, ignore_errors=True)
