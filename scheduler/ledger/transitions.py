"""Transitions of a task that several parts of the ledger make. Each runs inside the caller's transaction.

What always holds: a task has an entry in the outbox exactly while it is ACCEPTED. The entry, the state and the history
change in one transaction, so a crash between writing and sending loses nothing: the entry is still there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from alts.shared.models.ledger import TaskState
from alts.shared.models.report import Report
from scheduler.ledger import outbox
from scheduler.ledger.event import Event
from scheduler.ledger.history import Entry, attempts_of, entries_of, note
from scheduler.ledger.retry_policy import LedgerRules
from scheduler.ledger.rows import change, storable
from scheduler.ledger.task_row import STAGES, TaskRow

WAITING = (TaskState.ACCEPTED, TaskState.QUEUED)


def entry_of(row: TaskRow, event: Event, state: TaskState, *, now: float, reason: str = "") -> Entry:
    """Build the history entry for a transition of the task's current attempt."""
    return Entry(at=now, event=event, state=state, attempt=row.attempt, worker=row.worker, reason=reason)


def finish(db: Connection, row: TaskRow, report: Report, event: Event, *, now: float, **more: Any) -> None:
    """End the task with a report, to which the summaries of its earlier attempts are added."""
    entry = entry_of(row, event, TaskState.FINISHED, now=now, reason=report.reason)
    entry = replace(entry, outcome=report.outcome, artifacts=report.artifacts)
    if event is not Event.REPORTED:
        report = replace(report, attempts=attempts_of([*entries_of(db, row.task_id), entry]))
    elif row.attempt > 1:
        # An attempt's own report lists the attempts before it.
        report = replace(report, attempts=attempts_of(entries_of(db, row.task_id)))
    change(
        db,
        row,
        now=now,
        state=TaskState.FINISHED,
        outcome=report.outcome,
        reason=storable(report.reason),
        report=report.to_json(),
        progress=STAGES.dump_json(report.stages).decode(),
        finished_at=now,
        lease_expires_at=None,
        resend_at=None,
        **more,
    )
    outbox.withdraw(db, row.task_id)
    note(db, row.task_id, entry)


def accept_again(
    db: Connection, row: TaskRow, entry: Entry, rules: LedgerRules, *, delay: float = 0.0, **more: Any
) -> None:
    """Give a RUNNING task its next attempt after `delay` seconds."""
    change(
        db,
        row,
        now=entry.at,
        state=TaskState.ACCEPTED,
        reason=storable(entry.reason),
        due_at=entry.at + delay,
        lease_expires_at=None,
        resend_interval=rules.resend_after,
        **more,
    )
    outbox.put(db, row.task_id, row.queue, due_at=entry.at + delay)
    note(db, row.task_id, entry)


def invite_later(db: Connection, row: TaskRow, *, now: float, wait: float, **more: Any) -> None:
    """Replace a waiting task's used invitation with one that is due after `wait` seconds."""
    due = now + wait
    change(db, row, now=now, state=TaskState.ACCEPTED, due_at=due, resend_at=None, **more)
    outbox.withdraw(db, row.task_id)
    outbox.put(db, row.task_id, row.queue, due_at=due)


def avoiding_its_worker(row: TaskRow, rules: LedgerRules, *, now: float) -> dict[str, Any]:
    """Return the columns that keep the last attempt's worker from claiming the task again too soon."""
    return {"avoided_worker": row.worker, "avoided_until": now + rules.retry_elsewhere_seconds}
