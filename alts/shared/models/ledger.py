"""What a worker needs of the ledger: claim or decline, heartbeat, report; and to say that it is there.

Implemented by scheduler.ledger.attempts (the worker runs in the scheduler's process), by alts.client.worker_api (over
HTTP) and by tests/support/fakes.py; all three pass tests/contract/test_ledger.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from alts.shared.models.report import AttemptSummary, Outcome, Report, StageResult
from alts.shared.models.task_spec import TaskSpec


class TaskState(StrEnum):
    """Where the work on a task is."""

    ACCEPTED = "accepted"
    """On disk; its invitation is not sent yet."""
    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """A claimed task: this attempt is the worker's, for as long as it sends heartbeats."""

    task_id: str
    attempt: int
    """From 1; what was done under a lower number belongs to nobody any more."""
    spec: TaskSpec
    lease_seconds: float
    """The lease lapses this long after the claim or the last heartbeat."""
    earlier: tuple[AttemptSummary, ...] = ()
    """What the attempts before this one have brought, the first one first: Report.attempts."""


class Ledger(Protocol):
    """The truth about tasks, as a worker sees it. Every call may raise LedgerUnavailable."""

    def claim(self, task_id: str, *, worker: str, key: str = "") -> Assignment | None:
        """Take the task for its next attempt; None where it is not to be had (unknown, claimed, finished).

        `key`: random, one per claim. A worker that missed the answer asks again with the same key and gets the same
        answer. Without a key a second claim is refused.
        """

    def decline(self, task_id: str, *, worker: str, reason: str) -> None:
        """Decline for now (e.g. the disk is full). The task stays unclaimed and is offered again after a delay.

        Each time it takes longer, up to a minute. A task that is not to be had is left alone.
        """

    def heartbeat(self, task_id: str, attempt: int, *, progress: tuple[StageResult, ...] = ()) -> bool:
        """Prolong the lease and show the stages so far; True asks the worker to cancel.

        Raises StaleAttempt where the attempt does not own the task any more.
        """

    def report(self, task_id: str, attempt: int, report: Report) -> Outcome | None:
        """End the attempt; the task's outcome, None where another attempt follows.

        Saying the same report again is harmless, and gives the same answer.

        Raises StaleAttempt where the attempt does not own the task any more.
        """

    def release(self, task_id: str, attempt: int, *, reason: str) -> None:
        """Hand the task back unfinished, for another worker to claim at once.

        Raises StaleAttempt where the attempt does not own the task any more.
        """

    def announce(
        self, worker: str, *, ready: bool, reason: str = "", queues: Sequence[str] = (), free: int | None = None
    ) -> None:
        """The worker is there, and claims what it is invited to, or does not for a reason, such as a full disk.

        To be said every ten seconds, and when it changes: who is silent for longer than 30 s counts as away. `queues`:
        those that it listens on; none means that any may be. `free`: how many more tasks it would begin now, if known.
        """

    def over(self, attempts: Sequence[tuple[str, int]]) -> set[tuple[str, int]]:
        """Which of these (task id, attempt) are known, and own their task no more: what they left may be removed.

        A task of another ledger is unknown here, and never in the answer.
        """
