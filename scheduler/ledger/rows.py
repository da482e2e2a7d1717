"""Rows of the table of tasks, inside a transaction: read, locked, and changed only if still as they were read."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, select, update
from sqlalchemy.dialects import postgresql, sqlite

from alts.shared.models.ledger import TaskState
from scheduler.ledger.tables import tasks
from scheduler.ledger.task_row import TaskRow

_COLUMN_NAMES = {"task_id": "id", "spec_json": "spec", "progress_json": "progress", "report_json": "report"}
COLUMNS = tuple(tasks.c[_COLUMN_NAMES.get(field.name, field.name)].label(field.name) for field in fields(TaskRow))
"""The columns of a TaskRow, labelled with the names of its fields."""

# SQLite takes 32766 parameters in a statement, PostgreSQL's protocol 65535.
_IDS_AT_ONCE = 500


def row_of(db: Connection, task_id: str, *, lock: bool = False) -> TaskRow | None:
    """Return the task, or None if the id is unknown. With `lock`, no other transaction can change it meanwhile."""
    if not is_id(task_id):
        return None
    query = select(*COLUMNS).where(tasks.c.id == task_id)
    row = db.execute(query.with_for_update() if lock else query).one_or_none()
    return None if row is None else TaskRow(**row._asdict())


def owned(db: Connection, task_id: str, attempt: int) -> TaskRow | None:
    """Return the task, locked, if that attempt owns it."""
    row = row_of(db, task_id, lock=True)
    return row if row and row.state is TaskState.RUNNING and row.attempt == attempt else None


def lock_rows(db: Connection, *conditions: ColumnElement[bool]) -> list[TaskRow]:
    """Lock and return the matching tasks, by id. Tasks that another transaction has locked are left out."""
    query = select(*COLUMNS).where(*conditions).order_by(tasks.c.id).with_for_update(skip_locked=True)
    return [TaskRow(**row._asdict()) for row in db.execute(query)]


def change(db: Connection, row: TaskRow, *, now: float, **values: Any) -> bool:
    """Change the task if its state and attempt are still those of `row`. Return whether it was changed."""
    seen = tasks.c.id == row.task_id, tasks.c.state == row.state, tasks.c.attempt == row.attempt
    return db.execute(update(tasks).where(*seen).values(updated_at=now, **values)).rowcount == 1


def batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Split ids into parts, each short enough for one statement."""
    for start in range(0, len(ids), _IDS_AT_ONCE):
        yield ids[start : start + _IDS_AT_ONCE]


def insert_on(db: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """Return an insert with ON CONFLICT, which SQLAlchemy offers for each dialect separately."""
    return sqlite.insert(table) if db.dialect.name == "sqlite" else postgresql.insert(table)


def is_id(text: str) -> bool:
    """Whether the text has the form of a task id. Other texts may make a database fail (PostgreSQL: NUL)."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def storable(text: str) -> str:
    """Remove or replace what a database refuses: NUL (PostgreSQL), unpaired surrogates (UTF-8)."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()
