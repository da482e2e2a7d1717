"""The ledger's identity and the number of its last history entry."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, inspect, select, update

from scheduler.ledger.tables import history, ledger


@dataclass(frozen=True)
class Found:
    """State of a database, read before it is used."""

    tables: bool
    """Whether the ledger's tables are there."""
    identity: str | None
    """None if the tables were made by a version without identities."""
    highest: int
    """Number of the last history entry; 0 before the first."""


def look(db: Connection) -> Found:
    """Read the state of a database that any version may have made."""
    tables = set(inspect(db).get_table_names())
    return Found(
        tables="tasks" in tables,
        identity=db.scalar(select(ledger.c.identity)) if "ledger" in tables else None,
        highest=db.scalar(select(func.max(history.c.entry))) or 0 if "history" in tables else 0,
    )


def opened(db: Connection, *, now: float) -> Found:
    """Record that the ledger is in use from `now` on, and return its state.

    On SQLite this write also creates the write-ahead log, which must then exist until the ledger is closed.
    """
    db.execute(update(ledger).values(opened_at=now))
    return look(db)
