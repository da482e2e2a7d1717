"""A task's row in the database: read, locked, and changed only while it is what it was."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, select, update
from sqlalchemy.dialects import postgresql, sqlite

from alts.shared.models.ledger import TaskState
from scheduler.ledger.tables import tasks
from scheduler.ledger.task_row import TaskRow


def row_of(db: Connection, task_id: str, *, lock: bool = False) -> TaskRow | None:
    """The task; locked, nobody else changes it before the transaction ends."""
    if not is_id(task_id):
        return None
    query = select(tasks).where(tasks.c.id == task_id)
    row = db.execute(query.with_for_update() if lock else query).one_or_none()
    return None if row is None else TaskRow.of(row)


def owned(db: Connection, task_id: str, attempt: int) -> TaskRow | None:
    """The task, locked, if that attempt owns it."""
    row = row_of(db, task_id, lock=True)
    return row if row and row.state is TaskState.RUNNING and row.attempt == attempt else None


def change(db: Connection, row: TaskRow, *, now: float, **values: Any) -> bool:
    """Change the task, if it is still in the state and the attempt that were read; says whether it was."""
    seen = tasks.c.id == row.task_id, tasks.c.state == row.state, tasks.c.attempt == row.attempt
    return db.execute(update(tasks).where(*seen).values(updated_at=now, **values)).rowcount == 1


@dataclass(frozen=True)
class Lease:
    """A worker's right to an attempt. `expires_at` changes with every heartbeat."""

    task_id: str
    attempt: int
    expires_at: float | None


@dataclass(frozen=True)
class Waiting:
    """A task that waits for a worker."""

    task_id: str
    queue: str


def insert_on(db: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """An insert that can say what to do where the row is there already; both databases spell it alike."""
    return sqlite.insert(table) if db.dialect.name == "sqlite" else postgresql.insert(table)


def is_id(text: str) -> bool:
    """Whether an id can be ours: databases choke on some texts, such as PostgreSQL on NUL."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def storable(text: str) -> str:
    """Without what a database refuses: NUL (PostgreSQL), halves of surrogate pairs (UTF-8)."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()
