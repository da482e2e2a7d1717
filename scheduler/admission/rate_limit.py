"""Rate limit for each caller's requests. The only user of the library limits."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from alts.shared.errors import TooManyRequests

# A megabyte counts as 128 requests, a task with its repositories' keys as one or two.
BODY_UNIT = 8192  # bytes


class RateLimit:
    """Limits each caller's requests in any minute, counted in this process alone. Any thread may use it."""

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`per_minute`: requests per caller, 0 for no limit."""
        self._clock = clock
        self._lock = threading.Lock()
        self._paid_off_at: dict[str, float] = {}
        # It keeps two counters per caller. A moving window would keep the time of every request.
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._item = RateLimitItemPerMinute(per_minute) if per_minute else None

    def check(self, caller: str) -> None:
        """Count a request. Raises TooManyRequests over the limit, or while the caller is in debt."""
        if self._item is None:
            return
        wait = self._paid_off_at.get(caller, 0.0) - self._clock()
        if wait <= 0:
            if self._limiter.hit(self._item, caller):
                return
            wait = min(60, self._limiter.get_window_stats(self._item, caller).reset_time - time.time())
        raise TooManyRequests(f"more than {self._item.amount} requests per minute", retry_after=max(1, math.ceil(wait)))

    def charge_body(self, caller: str, size: int) -> None:
        """Count a body of `size` bytes, whatever the response: one request for each full BODY_UNIT."""
        self.charge(caller, size // BODY_UNIT)

    def charge(self, caller: str, more: int) -> None:
        """Count a request that is already accepted as `more` further requests.

        Beyond the limit the caller is in debt: check() refuses the caller's requests for as long as `more` requests
        take at the limit's pace.
        """
        if self._item is None or more < 1 or self._limiter.hit(self._item, caller, cost=more):
            return
        with self._lock:
            now = self._clock()
            debts = {name: until for name, until in self._paid_off_at.items() if until > now}
            debts[caller] = debts.get(caller, now) + more * 60 / self._item.amount
            # A new dictionary, because check() may be reading the old one.
            self._paid_off_at = debts
