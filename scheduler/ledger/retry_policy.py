"""How long things may take in the ledger, and how often they are tried. Pure."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_DECLINE_SECONDS = 5.0
LONGEST_DECLINE_SECONDS = 60.0
# How long an invitation rests whose queue the configuration does not have: until an operator has mended that.
LONGEST_POSTPONE_SECONDS = 60.0
# Schedulers that share a ledger may differ by this much without one taking the other's times for a jump.
CLOCK_TOLERANCE_SECONDS = 60.0
FORWARD_JUMP_SECONDS = 12 * 3600.0


@dataclass(frozen=True, kw_only=True)
class LedgerRules:
    """Seconds, and counts; the keys of the configuration have the same names."""

    lease_seconds: float = 30.0
    max_attempts: int = 3
    retry_delay: float = 10.0
    retry_delay_max: float = 300.0
    retry_elsewhere_seconds: float = 60.0
    resend_after: float = 600.0
    idempotency_seconds: float = 86_400.0

    @property
    def longest_wait(self) -> float:
        """Seconds ahead of now that no "not before" time exceeds; `resend_at` has its own rule."""
        waits = self.retry_delay_max + self.retry_elsewhere_seconds, LONGEST_DECLINE_SECONDS, LONGEST_POSTPONE_SECONDS
        return max(waits) + CLOCK_TOLERANCE_SECONDS

    @property
    def idempotency_kept(self) -> float:
        """Seconds for which a key counts: a clock that jumps ahead for hours must not forget one too early."""
        return self.idempotency_seconds + FORWARD_JUMP_SECONDS

    def is_ahead(self, at: float, *, now: float) -> bool:
        """Whether a "not before" time is still to come. One that is further ahead than longest_wait is not."""
        return now < at <= now + self.longest_wait

    def retry_wait(self, failures: int) -> float:
        """Seconds before the next attempt: retry_delay after the first failure, twice as long after every further."""
        return doubled(self.retry_delay, times=failures - 1, at_most=self.retry_delay_max)

    def decline_wait(self, declined: int) -> float:
        """Seconds before the next invitation of a task that was declined so many times before."""
        return doubled(FIRST_DECLINE_SECONDS, times=declined, at_most=LONGEST_DECLINE_SECONDS)


def doubled(first: float, *, times: int, at_most: float) -> float:
    """`first`, doubled so many times, but no more than `at_most`."""
    # The exponent is bounded, or thousands of times would make a number too large for a float.
    return min(first * 2.0 ** min(max(times, 0), 32), at_most)
