"""The three loops that a worker runs beside its tasks: presence, late reports, cleanup."""

from __future__ import annotations

import logging
import threading
from types import TracebackType
from typing import Self

from alts.shared.errors import LedgerUnavailable
from alts.shared.periodic import Loop
from alts.worker.delivery import Delivery
from alts.worker.janitor import Janitor
from alts.worker.presence import Presence

log = logging.getLogger(__name__)

_REPORT_INTERVAL = 5.0  # seconds; after an outage the ledger lets leases live for another 30 s


class Upkeep:
    """Runs the loops in threads of their own for the length of a `with` block."""

    def __init__(self, presence: Presence, delivery: Delivery, janitor: Janitor, *, reap_interval: float) -> None:
        """`reap_interval`: seconds between two cleanups."""
        self._delivery = delivery
        self._janitor = janitor
        self._reap_interval = reap_interval
        self._look = threading.Event()
        self._loops = (
            Loop("presence", presence.look, wake=self._look),
            Loop("late reports", self._deliver),
            Loop("reaper", self._reap),
        )

    def __enter__(self) -> Self:
        for loop in self._loops:
            loop.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for loop in self._loops:
            # The next worker repeats a step that is cut off.
            loop.close(seconds=1.0)

    def look_now(self) -> None:
        """Check readiness without waiting for the interval, e.g. because a drain has begun."""
        self._look.set()

    def _deliver(self) -> float:
        self._delivery.deliver_pending()
        return _REPORT_INTERVAL

    def _reap(self) -> float:
        try:
            self._janitor.reap()
        except LedgerUnavailable as error:
            log.info("the ledger was not asked which attempts are over", extra={"error": str(error)})
        return self._reap_interval
