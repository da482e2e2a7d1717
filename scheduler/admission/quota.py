"""Quota: the number of unfinished tasks that a caller may have."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from alts.shared.errors import TooManyRequests

# A count over a long index costs milliseconds, so a count is reused for this time, plus the tasks added since.
FRESH_SECONDS = 2.0
RETRY_AFTER = 30  # seconds; a task takes about as long
# There are few callers; tokens for a million of them must not fill the memory.
MOST_REMEMBERED = 10_000


@dataclass
class _Count:
    unfinished: int = 0
    """The ledger's count plus the tasks admitted since."""
    at: float = float("-inf")
    on_their_way: int = 0
    """Tasks that are admitted and may not be in the ledger yet."""


class Quota:
    """Limits unfinished tasks per caller, by the ledger's count and the tasks admitted since. Any thread may use it.

    With several schedulers, each one learns of the others' tasks within FRESH_SECONDS.
    """

    def __init__(
        self, most: int, unfinished_of: Callable[[str], int], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`most`: tasks per caller, 0 for no limit. `unfinished_of` counts a caller's tasks in the ledger."""
        self._most = most
        self._unfinished_of = unfinished_of
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: dict[str, _Count] = {}

    @contextmanager
    def one_more(self, caller: str) -> Iterator[None]:
        """Admit one more task, which the caller stores inside the `with`. Raises TooManyRequests over the quota.

        A refusal is always based on a new count. Raises LedgerUnavailable.
        """
        if not self._most:
            yield
            return
        count = self._let_through(caller)
        try:
            yield
        finally:
            with self._lock:
                count.on_their_way -= 1

    def _let_through(self, caller: str) -> _Count:
        with self._lock:
            if len(self._counts) >= MOST_REMEMBERED:
                self._forget()
            count = self._counts.setdefault(caller, _Count())
            now = self._clock()
            if now - count.at > FRESH_SECONDS or count.unfinished >= self._most:
                count.unfinished = self._unfinished_of(caller) + count.on_their_way
                count.at = now
            if count.unfinished >= self._most:
                raise TooManyRequests(
                    f"you have {count.unfinished} unfinished tasks; the limit is {self._most}",
                    retry_after=RETRY_AFTER,
                )
            count.unfinished += 1
            count.on_their_way += 1
            return count

    def _forget(self) -> None:
        self._counts = {caller: count for caller, count in self._counts.items() if count.on_their_way}
