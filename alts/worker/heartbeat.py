"""Prolongs a claimed task's lease from a thread of its own, and passes on the ledger's requests to stop."""

from __future__ import annotations

import logging
import threading
from contextvars import copy_context
from types import TracebackType
from typing import Self

from alts.core.stop import Stop, StopReason
from alts.shared.errors import LedgerUnavailable, StaleAttempt
from alts.shared.models.ledger import Assignment, Ledger
from alts.shared.models.report import StageResult

log = logging.getLogger(__name__)


class Heartbeat:
    """Sends a heartbeat every `interval` seconds during the `with` block, and at once after show().

    Requests a stop of `stop` when the ledger asks for a cancel or has taken the lease away. While the ledger does not
    answer, heartbeats go on: only the ledger knows whether the lease has lapsed.
    """

    def __init__(self, ledger: Ledger, assignment: Assignment, *, stop: Stop, interval: float) -> None:
        self._ledger = ledger
        self._assignment = assignment
        self._stop = stop
        self._interval = interval
        self._progress: tuple[StageResult, ...] = ()
        self._wake = threading.Event()
        self._ended = False
        self._thread = threading.Thread(
            target=copy_context().run, args=(self._run,), name=f"heartbeat-{assignment.task_id}", daemon=True
        )

    def show(self, stages: tuple[StageResult, ...]) -> None:
        """Send the stages so far with the next heartbeat, which follows at once. Never blocks."""
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
            # Without heartbeats the lease lapses, and another worker begins a new attempt.
            if not self._ended:
                self._stop.request(StopReason.LEASE_LOST)

    def _beat(self) -> None:
        while True:
            self._wake.wait(self._interval)
            self._wake.clear()
            if self._ended:
                return
            progress, self._progress = self._progress, ()
            try:
                cancel = self._ledger.heartbeat(self._assignment.task_id, self._assignment.attempt, progress=progress)
            except StaleAttempt:
                log.warning("lease lost")
                return
            except LedgerUnavailable as error:
                log.warning("heartbeat not answered", extra={"error": str(error)})
                self._progress = self._progress or progress
                continue
            if cancel:
                self._stop.request(StopReason.CANCELLED)
