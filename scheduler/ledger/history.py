"""The history of a task: every transition, written in the transaction that makes it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import Connection, insert, select

from alts.shared.models.ledger import TaskState
from alts.shared.models.report import AttemptSummary, Ending, Outcome
from scheduler.ledger.rows import storable
from scheduler.ledger.tables import history


class Event(StrEnum):
    """What made the transition."""

    ACCEPTED = "accepted"
    """The task is on disk."""
    SENT = "sent"
    """The broker has its invitation."""
    RESENT = "resent"
    """Nobody followed the invitation: another one is to be sent."""
    DECLINED = "declined"
    """A worker that was invited could not take it."""
    CLAIMED = "claimed"
    CANCEL_REQUESTED = "cancel_requested"
    """Its worker is asked to stop."""
    REPORTED = "reported"
    """An attempt has ended; of the state depends whether another one follows."""
    RELEASED = "released"
    """An attempt was handed back undone."""
    LOST = "lost"
    """An attempt's worker stopped answering."""
    CLOSED = "closed"
    """Ended while no worker was at it."""


LAST_ENTRY = "last_history_entry"
"""Where Connection.info has the number of the entry that the transaction has written last."""

_ENDS = (Event.REPORTED, Event.RELEASED, Event.LOST)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One transition."""

    at: float
    """Seconds since the epoch."""
    event: Event
    state: TaskState
    """What the task was from then on."""
    attempt: int
    worker: str | None = None
    outcome: Outcome | None = None
    """Of the attempt that was reported, or of the task."""
    reason: str = ""
    artifacts: str | None = None
    """Where a reported attempt has put its logs."""


def is_noted(times: int) -> bool:
    """Whether the nth repetition is recorded: powers of two only, so that repeats for days cannot fill the disk."""
    return times & (times - 1) == 0


def note(db: Connection, task_id: str, entry: Entry) -> None:
    """Write one down."""
    note_all(db, [(task_id, entry)])


def note_all(db: Connection, entries: Iterable[tuple[str, Entry]]) -> None:
    """Write down transitions of several tasks, by their ids."""
    rows = [
        {
            "task_id": task_id,
            **vars(entry),
            "worker": None if entry.worker is None else storable(entry.worker),
            "reason": storable(entry.reason),
            "artifacts": None if entry.artifacts is None else storable(entry.artifacts),
        }
        for task_id, entry in entries
    ]
    if rows:
        db.info[LAST_ENTRY] = max(db.scalars(insert(history).returning(history.c.entry), rows))


def entries_of(db: Connection, task_id: str) -> tuple[Entry, ...]:
    """The task's transitions in their order."""
    query = select(history).where(history.c.task_id == task_id).order_by(history.c.entry)
    return tuple(
        Entry(
            at=row.at,
            event=Event(row.event),
            state=TaskState(row.state),
            attempt=row.attempt,
            worker=row.worker,
            outcome=Outcome(row.outcome) if row.outcome else None,
            reason=row.reason,
            artifacts=row.artifacts,
        )
        for row in db.execute(query)
    )


def attempts_of(entries: Iterable[Entry]) -> tuple[AttemptSummary, ...]:
    """The attempts that have ended, the first one first."""
    begun: dict[int, Entry] = {}
    ended: list[AttemptSummary] = []
    for entry in entries:
        if entry.event is Event.CLAIMED:
            begun[entry.attempt] = entry
        elif entry.event in _ENDS:
            claim = begun.get(entry.attempt)
            ended.append(
                AttemptSummary(
                    attempt=entry.attempt,
                    worker=entry.worker or "",
                    outcome=_ending(entry),
                    reason=entry.reason,
                    started_at=None if claim is None else _time(claim.at),
                    finished_at=_time(entry.at),
                    artifacts=entry.artifacts,
                )
            )
    return tuple(ended)


def _ending(entry: Entry) -> Ending:
    if entry.event is Event.REPORTED and entry.outcome is not None:
        return Ending(entry.outcome.value)
    return Ending(entry.event.value)


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
