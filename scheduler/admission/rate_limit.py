"""How often a caller may ask. The only user of limits."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from alts.shared.errors import TooManyRequests

# A megabyte costs as much as a hundred and thirty requests, and a task with its repositories' keys one or two.
BODY_UNIT = 8192  # bytes


class RateLimit:
    """So many requests of each caller in any minute, counted in this process alone. Safe to use in several threads."""

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        """0 for no limit."""
        self._clock = clock
        self._lock = threading.Lock()
        self._paid_off_at: dict[str, float] = {}
        # Two counters for each caller, whatever the limit; a moving window would keep the time of every request.
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._item = RateLimitItemPerMinute(per_minute) if per_minute else None

    def check(self, caller: str) -> None:
        """Count a request. Raises TooManyRequests where it is one too many, or an earlier one is not paid off yet."""
        if self._item is None:
            return
        wait = self._paid_off_at.get(caller, 0.0) - self._clock()
        if wait <= 0:
            if self._limiter.hit(self._item, caller):
                return
            wait = min(60, self._limiter.get_window_stats(self._item, caller).reset_time - time.time())
        raise TooManyRequests(
            f"more than {self._item.amount} requests in a minute", retry_after=max(1, math.ceil(wait))
        )

    def charge_body(self, caller: str, size: int) -> None:
        """Count a body of so many bytes, whatever comes of it: one request more for each BODY_UNIT."""
        self.charge(caller, size // BODY_UNIT)

    def charge(self, caller: str, more: int) -> None:
        """Count what turns out to be so many requests more, none of which is refused.

        Where that is more than is left, the caller is in debt: for as long as so many requests take at the limit's
        pace, check() lets nothing of theirs in.
        """
        if self._item is None or more < 1 or self._limiter.hit(self._item, caller, cost=more):
            return
        with self._lock:
            now = self._clock()
            debts = {name: until for name, until in self._paid_off_at.items() if until > now}
            debts[caller] = debts.get(caller, now) + more * 60 / self._item.amount
            # A new dictionary: check() looks into the old one meanwhile.
            self._paid_off_at = debts
