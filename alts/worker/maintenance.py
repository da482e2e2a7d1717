"""What a worker does beside its tasks: says that it is there, tells late reports, removes what the dead have left."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from alts.shared.errors import LedgerUnavailable
from alts.shared.periodic import Loop
from alts.worker.worker import Worker

log = logging.getLogger(__name__)

_LOOK_INTERVAL = 2.0  # seconds between two looks whether tasks may be taken
_ANNOUNCE_INTERVAL = 10.0  # the ledger counts who is silent for 30 s as away
_REPORT_INTERVAL = 5.0  # a lease is let live for 30 s once the ledger is back


def _consume_anyway(wanted: bool) -> None:
    """For a worker without a consumer to pause: it declines invitations one by one."""


class Upkeep:
    """Three loops in threads of their own, from start() to close().

    `consume` is told, whenever that changes, whether messages are wanted at all: a worker that cannot take tasks
    should leave them in the queue for others, not decline them one after another.
    """

    def __init__(
        self,
        worker: Worker,
        *,
        queues: Sequence[str],
        consume: Callable[[bool], None] = _consume_anyway,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._worker = worker
        self._queues = tuple(queues)
        self._consume = consume
        self._clock = clock
        self._said: str | None = None
        self._announced_at: float | None = None
        self._look = threading.Event()
        self._loops = (
            Loop("presence", self.look, wake=self._look),
            Loop("late reports", self.tell),
            Loop("reaper", self.reap),
        )

    def start(self) -> None:
        for loop in self._loops:
            loop.start()

    def look_now(self) -> None:
        """Something has changed, such as a drain that has begun."""
        self._look.set()

    def close(self) -> None:
        for loop in self._loops:
            # The next worker repeats a step that is cut off.
            loop.close(seconds=1.0)

    def look(self) -> float:
        """Ask whether tasks may be taken, and announce it. Raises LedgerUnavailable."""
        trouble = self._worker.trouble
        if trouble != self._said:
            if trouble:
                log.warning("no tasks are taken", extra={"reason": trouble})
            elif self._said is not None:
                log.info("tasks are taken again")
            if bool(trouble) != bool(self._said):
                self._consume(not trouble)
            self._said, self._announced_at = trouble, None
        if self._announced_at is None or self._clock() - self._announced_at >= _ANNOUNCE_INTERVAL:
            self._worker.ledger.announce(
                self._worker.name, ready=not trouble, reason=trouble, queues=self._queues, free=self._worker.free
            )
            self._announced_at = self._clock()
        return _LOOK_INTERVAL

    def tell(self) -> float:
        """Tell the ledger what it has not heard. Raises LedgerUnavailable."""
        self._worker.tell_unheard()
        return _REPORT_INTERVAL

    def reap(self) -> float:
        """Remove what nobody needs any more; what is known without the ledger goes without it."""
        try:
            self._worker.reap()
        except LedgerUnavailable as error:
            log.info("the ledger was not asked what is over", extra={"error": str(error)})
        return self._worker.config.reap_interval
