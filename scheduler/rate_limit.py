"""How often a caller may ask. The only user of limits."""

from __future__ import annotations

import math
import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from alts.shared.errors import TooManyRequests


class RateLimit:
    """So many requests of each caller in any minute, counted in this process alone."""

    def __init__(self, per_minute: int) -> None:
        """0 for no limit."""
        # Two counters for each caller, whatever the limit; a moving window would keep the time of every request.
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._item = RateLimitItemPerMinute(per_minute) if per_minute else None

    def check(self, caller: str) -> None:
        """Count a request. Raises TooManyRequests where it is one too many."""
        if self._item is None or self._limiter.hit(self._item, caller):
            return
        wait = self._limiter.get_window_stats(self._item, caller).reset_time - time.time()
        raise TooManyRequests(
            f"more than {self._item.amount} requests in a minute", retry_after=min(60, max(1, math.ceil(wait)))
        )
