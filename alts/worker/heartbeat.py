"""Keeps a claimed task's lease alive from a thread of its own, and hears when it must end."""

from __future__ import annotations

import logging
import threading
from types import TracebackType
from typing import Self

from alts.core.stop import Stop, StopReason
from alts.shared.errors import LedgerUnavailable, StaleAttempt
from alts.shared.models.ledger import Assignment, Ledger
from alts.shared.models.report import StageResult

log = logging.getLogger(__name__)


class Heartbeat:
    """Beats every `interval` seconds for as long as the `with` lasts, and at once when there is a stage to show.

    A cancel that the ledger asks for, or a lease that it took away, is requested of `stop`. A ledger that does not
    answer is asked again: whether the lease has lapsed meanwhile is for the ledger alone to say.
    """

    def __init__(self, ledger: Ledger, assignment: Assignment, *, stop: Stop, interval: float) -> None:
        self._ledger = ledger
        self._assignment = assignment
        self._stop = stop
        self._interval = interval
        self._progress: tuple[StageResult, ...] = ()
        self._wake = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name=f"heartbeat-{assignment.task_id}", daemon=True)

    def show(self, stages: tuple[StageResult, ...]) -> None:
        """Let the ledger know of the stages so far."""
        self._progress = stages
        self._wake.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended = True
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._beat()
        finally:
            # Without a heart the lease lapses, and somebody else begins anew.
            if not self._ended:
                self._stop.request(StopReason.LEASE_LOST)

    def _beat(self) -> None:
        task = {"task_id": self._assignment.task_id, "attempt": self._assignment.attempt}
        while True:
            self._wake.wait(self._interval)
            self._wake.clear()
            if self._ended:
                return
            progress, self._progress = self._progress, ()
            try:
                cancel = self._ledger.heartbeat(self._assignment.task_id, self._assignment.attempt, progress=progress)
            except StaleAttempt:
                log.warning("lease lost", extra=task)
                return
            except LedgerUnavailable as error:
                log.warning("heartbeat not heard", extra={**task, "error": str(error)})
                self._progress = self._progress or progress
                continue
            if cancel:
                self._stop.request(StopReason.CANCELLED)
