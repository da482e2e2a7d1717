"""Removes the machines and folders of dead workers, and adopts their undelivered reports and artifacts."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Protocol

from alts.runners.base import AttemptKey, Machine, Runner
from alts.shared.errors import InfrastructureError
from alts.shared.models.ledger import Ledger
from alts.worker.orphans import abandoned, foreign, own_orphans
from alts.worker.running import RunningAttempts
from alts.worker.work_folder import WorkFolder

log = logging.getLogger(__name__)


class Adopter(Protocol):
    """A queue on disk that can take over another worker's queue."""

    def adopt(self, folder: Path) -> int:
        """Move all entries from a dead worker's folder. Returns their number. The caller holds the slot's lock."""


class Janitor:
    """Cleans up on this worker's host and on its runners' engines. A runner that fails does not stop the others."""

    def __init__(
        self,
        ledger: Ledger,
        folder: WorkFolder,
        runners: Mapping[str, Runner],
        *,
        running: RunningAttempts,
        reports: Adopter,
        artifacts: Adopter,
        longest_life: float,
    ) -> None:
        """`runners` by name. `longest_life`: seconds that any pool's machine exists, to the end of its task."""
        self._ledger = ledger
        self._folder = folder
        self._runners = runners
        self._running = running
        self._reports = reports
        self._artifacts = artifacts
        self._longest_life = longest_life

    def remove_predecessor(self) -> None:
        """Destroy the machines of this slot's previous holder. Call it only before the first attempt."""
        self._remove_all_of(self._folder.identity)

    def remove_dead(self) -> None:
        """Destroy the machines and folders of dead workers on this host, and adopt their reports and artifacts."""
        with self._folder.dead() as slots:
            for slot in slots:
                self._remove_all_of(slot.identity)
                reports = self._reports.adopt(slot.reports)
                artifacts = self._artifacts.adopt(slot.spool)
                if reports or artifacts:
                    log.info("a dead worker's spool adopted", extra={"reports": reports, "artifacts": artifacts})

    def reap(self) -> None:
        """Remove dead workers' leftovers, own machines whose cleanup failed, and machines of attempts that are over.

        Raises LedgerUnavailable if the ledger cannot say which attempts are over. Everything else is removed before.
        """
        self.remove_dead()
        self._folder.tidy(self._running.keys)
        machines = {name: self._machines(name) for name in self._runners}
        neighbours = self._folder.neighbours()
        running = self._running.keys()
        for name, shown in machines.items():
            wanted = running | frozenset(self._runners[name].held())
            self._remove(name, own_orphans(shown, own=self._folder.identity, wanted=wanted))
            self._remove(name, abandoned(shown, neighbours=neighbours, age=self._longest_life))
        strange = {name: foreign(shown, neighbours=neighbours) for name, shown in machines.items()}
        asked = frozenset[AttemptKey]().union(*strange.values())
        over = self._ledger.over(sorted(asked)) if asked else set()
        for name, attempts in strange.items():
            self._remove(name, attempts & over)

    def _machines(self, name: str) -> tuple[Machine, ...]:
        try:
            return tuple(self._runners[name].machines())
        except InfrastructureError as error:
            log.warning("orphans not removed", extra={"runner": name, "error": str(error)})
            return ()

    def _remove(self, name: str, attempts: Collection[AttemptKey]) -> None:
        try:
            for task_id, attempt in sorted(attempts):
                self._runners[name].remove(task_id, attempt)
                log.info("orphan removed", extra={"runner": name, "task_id": task_id, "attempt": attempt})
        except InfrastructureError as error:
            log.warning("orphans not removed", extra={"runner": name, "error": str(error)})

    def _remove_all_of(self, identity: str) -> None:
        for name, runner in self._runners.items():
            try:
                count = runner.remove_all_of(identity)
            except InfrastructureError as error:
                log.warning("leftovers not removed", extra={"runner": name, "error": str(error)})
            else:
                if count:
                    log.info("leftovers removed", extra={"runner": name, "machines": count})
