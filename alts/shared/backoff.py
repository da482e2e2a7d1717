"""The pause before another try."""

from __future__ import annotations

# 2 ** 32 times the first pause is longer than any limit in use. 2.0 ** 1024 raises OverflowError.
_MOST_DOUBLINGS = 32


def backoff(first: float, *, times: int, at_most: float) -> float:
    """Return `first` seconds, doubled `times` times, but not more than `at_most` seconds.

    Example: backoff(0.5, times=3, at_most=15.0) is 4.0. A negative `times` counts as 0.
    """
    return min(first * 2.0 ** min(max(times, 0), _MOST_DOUBLINGS), at_most)
