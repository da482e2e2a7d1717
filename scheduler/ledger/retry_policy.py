"""Waiting times and retry limits of the ledger. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from alts.shared.backoff import backoff

FIRST_DECLINE_SECONDS = 5.0
LONGEST_DECLINE_SECONDS = 60.0
# Delay of an invitation whose queue is not configured. An operator has to correct the configuration.
LONGEST_POSTPONE_SECONDS = 60.0
# Difference allowed between the clocks of schedulers that share a ledger. A larger one counts as a jump.
CLOCK_TOLERANCE_SECONDS = 60.0
FORWARD_JUMP_SECONDS = 12 * 3600.0


@dataclass(frozen=True, kw_only=True)
class LedgerRules:
    """Times in seconds, and counts. Most fields have the name of their configuration key."""

    lease_seconds: float = 30.0
    max_attempts: int = 3
    retry_delay: float = 10.0
    retry_delay_max: float = 300.0
    retry_elsewhere_seconds: float = 60.0
    resend_after: float = 600.0
    idempotency_seconds: float = 86_400.0

    @property
    def longest_wait(self) -> float:
        """Seconds: upper limit for how far a "not before" time lies ahead. `resend_at` has its own limit."""
        waits = self.retry_delay_max + self.retry_elsewhere_seconds, LONGEST_DECLINE_SECONDS, LONGEST_POSTPONE_SECONDS
        return max(waits) + CLOCK_TOLERANCE_SECONDS

    @property
    def idempotency_kept(self) -> float:
        """Seconds for which a key is kept. A margin protects it from a clock that jumps ahead by hours."""
        return self.idempotency_seconds + FORWARD_JUMP_SECONDS

    def is_ahead(self, at: float, *, now: float) -> bool:
        """Whether a "not before" time is still to come. A time further ahead than longest_wait is ignored."""
        return now < at <= now + self.longest_wait

    def retry_wait(self, failures: int) -> float:
        """Seconds before the next attempt: retry_delay after the first failure, doubled after each further one."""
        return backoff(self.retry_delay, times=failures - 1, at_most=self.retry_delay_max)

    def decline_wait(self, declined: int) -> float:
        """Seconds before the next invitation of a task. `declined`: number of earlier declines."""
        return backoff(FIRST_DECLINE_SECONDS, times=declined, at_most=LONGEST_DECLINE_SECONDS)
