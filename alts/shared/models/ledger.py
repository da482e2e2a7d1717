"""The ledger's interface for workers: claim, decline, heartbeat, report, release, announce.

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
    """State of a task in the ledger."""

    ACCEPTED = "accepted"
    """Stored. Its invitation is not sent yet."""
    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """A claimed task. The attempt belongs to the worker for as long as it sends heartbeats."""

    task_id: str
    attempt: int
    """Counts from 1. Attempts with lower numbers do not own the task any more."""
    spec: TaskSpec
    lease_seconds: float
    """Seconds from the claim or the last heartbeat until the lease lapses."""
    earlier: tuple[AttemptSummary, ...] = ()
    """Summaries of the previous attempts, oldest first, for Report.attempts."""


class Ledger(Protocol):
    """The ledger as a worker sees it. Every call may raise LedgerUnavailable."""

    def claim(self, task_id: str, *, worker: str, key: str = "") -> Assignment | None:
        """Claim the task for its next attempt. Returns None if it is unknown, claimed or finished.

        `key`: random, one per claim. A worker that missed the answer asks again with the same key and gets the same
        answer. Without a key a second claim is refused.
        """

    def decline(self, task_id: str, *, worker: str, reason: str) -> None:
        """Decline for now (e.g. the disk is full). The task stays unclaimed and is offered again after a delay.

        The delay doubles with each decline, up to a minute. A task that cannot be claimed is left alone.
        """

    def heartbeat(self, task_id: str, attempt: int, *, progress: tuple[StageResult, ...] = ()) -> bool:
        """Prolong the lease and show the stages so far. Returns True if the task is to be cancelled.

        Raises StaleAttempt if the attempt does not own the task any more.
        """

    def report(self, task_id: str, attempt: int, report: Report) -> Outcome | None:
        """End the attempt. Returns the task's outcome, or None if another attempt follows.

        Repeating a report is harmless and returns the same answer.

        Raises StaleAttempt if the attempt does not own the task any more.
        """

    def release(self, task_id: str, attempt: int, *, reason: str) -> None:
        """Hand the task back unfinished, for another worker to claim at once.

        Raises StaleAttempt if the attempt does not own the task any more.
        """

    def announce(
        self, worker: str, *, ready: bool, reason: str = "", queues: Sequence[str] = (), free: int | None = None
    ) -> None:
        """Announce that the worker is present, and whether it claims tasks. `reason`: why not, e.g. a full disk.

        Call it every 10 s and after each change: a worker that is silent for 30 s counts as away. `queues`: the queues
        that it consumes; empty if unknown. `free`: how many more tasks it would begin now; None if unknown.
        """

    def over(self, attempts: Sequence[tuple[str, int]]) -> set[tuple[str, int]]:
        """Return those (task id, attempt) pairs that no longer own their task, so that their machines may be removed.

        Unknown tasks are never among them: they may belong to another ledger.
        """
