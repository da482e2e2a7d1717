"""Read the ledger's SQLite file directly, so that the checker does not depend on the code that it checks."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Transition:
    """One row of the table `history`."""

    event: str
    state: str
    attempt: int
    at: float = 0.0
    """The scheduler's time of day, in seconds."""


@dataclass(frozen=True, kw_only=True)
class LedgerTask:
    """One row of the table `tasks`."""

    task_id: str
    package: str
    state: str
    outcome: str | None
    reason: str
    attempt: int
    released: int
    cancel_requested: bool
    report: Mapping[str, Any] | None
    history: Sequence[Transition] = ()


def tasks_of(ledger: Path) -> list[LedgerTask]:
    """Return every task, oldest first, or none if there is no ledger yet."""
    history: dict[str, list[Transition]] = {}
    for row in _rows(ledger, "select * from history order by entry"):
        transition = Transition(event=row["event"], state=row["state"], attempt=row["attempt"], at=row["at"])
        history.setdefault(row["task_id"], []).append(transition)
    return [
        LedgerTask(
            task_id=row["id"],
            package=json.loads(row["spec"])["package_name"],
            state=row["state"],
            outcome=row["outcome"],
            reason=row["reason"],
            attempt=row["attempt"],
            released=row["released"],
            cancel_requested=bool(row["cancel_requested"]),
            report=None if row["report"] is None else json.loads(row["report"]),
            history=tuple(history.get(row["id"], ())),
        )
        for row in _rows(ledger, "select * from tasks order by created_at")
    ]


def unfinished(ledger: Path) -> list[str]:
    """Return the ids of the tasks that have not ended."""
    return [row["id"] for row in _rows(ledger, "select id from tasks where state != 'finished'")]


def waiting_invitations(ledger: Path) -> int:
    """Count the entries of the outbox."""
    return len(_rows(ledger, "select * from outbox"))


def _rows(ledger: Path, query: str) -> list[sqlite3.Row]:
    if not ledger.exists():
        return []
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True, timeout=10)) as connection:
        connection.row_factory = sqlite3.Row
        try:
            return connection.execute(query).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return []
            raise
