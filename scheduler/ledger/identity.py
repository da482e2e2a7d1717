"""The ledger's identity, and how far its history goes."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, inspect, select, update

from scheduler.ledger.tables import history, ledger


@dataclass(frozen=True)
class Found:
    """What a database holds, before it is used."""

    tables: bool
    """Whether it has any of ours."""
    identity: str | None
    """None where it is of a version that gave none."""
    highest: int
    """The last entry of the history; 0 before the first."""


def look(db: Connection) -> Found:
    """What is there, whatever version made it."""
    tables = set(inspect(db).get_table_names())
    return Found(
        tables="tasks" in tables,
        identity=db.scalar(select(ledger.c.identity)) if "ledger" in tables else None,
        highest=db.scalar(select(func.max(history.c.entry))) or 0 if "history" in tables else 0,
    )


def opened(db: Connection, *, now: float) -> Found:
    """Write down that the ledger is in use from `now` on; what is there then.

    On SQLite this is also what makes a write-ahead log: from here on until the end there must be one.
    """
    db.execute(update(ledger).values(opened_at=now))
    return look(db)
