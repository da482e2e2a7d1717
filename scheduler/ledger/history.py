"""The history of a task: one entry per transition, written in the transition's own transaction."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import UTC, datetime

from sqlalchemy import Connection, insert, select

from alts.shared.models.ledger import TaskState
from alts.shared.models.report import AttemptSummary, Ending, Outcome
from scheduler.ledger.event import Event
from scheduler.ledger.rows import storable
from scheduler.ledger.tables import history

LAST_ENTRY = "last_history_entry"
"""Key in Connection.info for the number of the last entry that the transaction wrote."""

_ENDS = (Event.REPORTED, Event.RELEASED, Event.LOST)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One transition. The fields are columns of the table."""

    at: float
    """Seconds since the epoch."""
    event: Event
    state: TaskState
    """The task's state after the transition."""
    attempt: int
    worker: str | None = None
    outcome: Outcome | None = None
    """Outcome of the reported attempt, or of the task."""
    reason: str = ""
    artifacts: str | None = None
    """Location of a reported attempt's artifacts."""


_COLUMNS = tuple(history.c[field.name] for field in fields(Entry))


def is_noted(times: int) -> bool:
    """Whether the nth repetition is recorded: powers of two only, so repeats can't fill the disk."""
    return times & (times - 1) == 0


def note(db: Connection, task_id: str, entry: Entry) -> None:
    """Add an entry to the task's history."""
    note_all(db, [(task_id, entry)])


def note_all(db: Connection, entries: Iterable[tuple[str, Entry]]) -> None:
    """Add entries to the histories of several tasks, given as (task id, entry)."""
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
    """Return the task's history, oldest entry first."""
    query = select(*_COLUMNS).where(history.c.task_id == task_id).order_by(history.c.entry)
    return tuple(Entry(**row._asdict()) for row in db.execute(query))


def attempts_of(entries: Iterable[Entry]) -> tuple[AttemptSummary, ...]:
    """Summarise the attempts that have ended, oldest first."""
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
