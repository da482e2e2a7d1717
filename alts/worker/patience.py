"""Repeated calls to a ledger that does not answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from alts.shared.backoff import backoff
from alts.shared.errors import LedgerUnavailable

# Seconds. The ledger may be away for minutes. A claim is not worth a longer wait, because the ledger sends another
# invitation. Neither is a report, because it is on disk and Delivery.deliver_pending repeats it.
PATIENCE = 60.0
_FIRST_DELAY = 0.5
_LONGEST_DELAY = 10.0

Answer = TypeVar("Answer")


class Patience:
    """Repeats a call while the ledger is away, at growing intervals."""

    def __init__(
        self, hurried: threading.Event, *, seconds: float = PATIENCE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`hurried`: ends all waits when it is set. `seconds`: limit for one question with its repetitions."""
        self._hurried = hurried
        self._seconds = seconds
        self._clock = clock

    def ask(self, question: Callable[[], Answer]) -> Answer:
        """Return the first answer.

        Raises the last LedgerUnavailable if it is not retryable, if the time is over, or after hurry().
        """
        times, until = 0, self._clock() + self._seconds
        while True:
            try:
                return question()
            except LedgerUnavailable as error:
                if not error.retryable or self._clock() >= until or self._hurried.is_set():
                    raise
            self._hurried.wait(backoff(_FIRST_DELAY, times=times, at_most=_LONGEST_DELAY))
            times += 1

    def hurry(self) -> None:
        """Stop repeating, now and for every later question."""
        self._hurried.set()
