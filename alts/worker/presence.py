"""Announces to the ledger whether this worker takes tasks, and pauses consumption while it does not."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from alts.shared.models.ledger import Ledger
from alts.worker.consumer import Consuming
from alts.worker.worker import Worker

log = logging.getLogger(__name__)

_LOOK_INTERVAL = 2.0  # seconds between two readiness checks
_ANNOUNCE_INTERVAL = 10.0  # seconds; the ledger counts a worker that is silent for 30 s as away


class Presence:
    """The step of a loop: checks readiness, and announces changes at once, the rest every ten seconds."""

    def __init__(
        self, worker: Worker, ledger: Ledger, consuming: Consuming, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._worker = worker
        self._ledger = ledger
        self._consuming = consuming
        self._clock = clock
        self._said: str | None = None
        self._announced_at: float | None = None

    def look(self) -> float:
        """Check and announce once. Returns the seconds until the next call. Raises LedgerUnavailable."""
        trouble = self._worker.trouble
        if trouble != self._said:
            self._note_change(trouble)
            self._said, self._announced_at = trouble, None
        if self._announced_at is None or self._clock() - self._announced_at >= _ANNOUNCE_INTERVAL:
            self._announce(trouble)
            self._announced_at = self._clock()
        return _LOOK_INTERVAL

    def _note_change(self, trouble: str) -> None:
        if trouble:
            log.warning("no tasks are taken", extra={"reason": trouble})
        elif self._said is not None:
            log.info("tasks are taken again")
        if bool(trouble) != bool(self._said):
            self._consuming.want(not trouble)

    def _announce(self, trouble: str) -> None:
        slots = self._consuming.slots
        self._ledger.announce(
            self._worker.name,
            ready=not trouble,
            reason=trouble,
            queues=self._consuming.queues,
            free=None if slots is None else max(0, slots - self._worker.running),
        )
