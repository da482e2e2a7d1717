"""How many tasks a caller may have waiting or running at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from alts.shared.errors import TooManyRequests

# A count over a long index costs milliseconds: for so long what was counted and what has come since will do.
FRESH_SECONDS = 2.0
RETRY_AFTER = 30  # seconds; a task takes about as long
# Callers are few; tokens for a million of them must not fill the memory.
MOST_REMEMBERED = 10_000


@dataclass
class _Count:
    unfinished: int = 0
    """As the ledger said, with those that were let through since."""
    at: float = float("-inf")
    on_their_way: int = 0
    """Let through, and not in the ledger yet, or only just."""


class Quota:
    """The ledger's count, with what was accepted here since. Safe to use from several threads.

    With several schedulers each is behind the others' submissions by FRESH_SECONDS at most.
    """

    def __init__(
        self, most: int, unfinished_of: Callable[[str], int], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`most`: 0 for as many as they like."""
        self._most = most
        self._unfinished_of = unfinished_of
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: dict[str, _Count] = {}

    @contextmanager
    def one_more(self, caller: str) -> Iterator[None]:
        """Write the task down within this. Raises TooManyRequests where it is one too many.

        Nobody is refused by an old count: before that it is counted anew. Raises LedgerUnavailable.
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
                    f"{count.unfinished} of your tasks have not ended, and {self._most} is the most",
                    retry_after=RETRY_AFTER,
                )
            count.unfinished += 1
            count.on_their_way += 1
            return count

    def _forget(self) -> None:
        self._counts = {caller: count for caller, count in self._counts.items() if count.on_their_way}
