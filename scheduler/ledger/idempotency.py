"""Requests that may be sent again: the task that a caller's Idempotency-Key stands for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sqlalchemy import Connection, delete, select

from alts.shared.errors import KeyReused
from alts.shared.models.task_spec import TaskSpec
from scheduler.ledger.rows import insert_on
from scheduler.ledger.tables import submissions


@dataclass(frozen=True)
class Submission:
    """A request as its caller has named it."""

    caller: str
    key: str
    """The caller's own; other callers' keys are other ones."""
    spec: TaskSpec

    @property
    def caller_digest(self) -> str:
        return hashlib.sha256(self.caller.encode("utf-8", "replace")).hexdigest()

    @property
    def request_digest(self) -> str:
        """Of what is asked for; how the body was written, and which defaults it has spelled out, does not matter."""
        return hashlib.sha256(self.spec.model_dump_json(exclude_defaults=True).encode()).hexdigest()


def task_of(db: Connection, submission: Submission, *, since: float) -> str | None:
    """The task that the key has stood for since then, or None. Raises KeyReused where it was asked for otherwise."""
    query = select(submissions.c.task_id, submissions.c.request_digest).where(
        submissions.c.caller_digest == submission.caller_digest,
        submissions.c.key == submission.key,
        submissions.c.created_at >= since,
    )
    row = db.execute(query).one_or_none()
    if row is None:
        return None
    if row.request_digest != submission.request_digest:
        raise KeyReused(
            "this Idempotency-Key was sent with another request before", resolution="take a new key for a new request"
        )
    return str(row.task_id)


def remember(db: Connection, submission: Submission, task_id: str, *, now: float, since: float) -> bool:
    """Let the key stand for the task; False where another request was quicker. Older keys than `since` are dropped."""
    db.execute(delete(submissions).where(submissions.c.created_at < since))
    new = insert_on(db, submissions).values(
        caller_digest=submission.caller_digest,
        key=submission.key,
        request_digest=submission.request_digest,
        task_id=task_id,
        created_at=now,
    )
    # Not the count of rows: PostgreSQL's driver does not tell it of an insert.
    return db.execute(new.on_conflict_do_nothing().returning(submissions.c.task_id)).one_or_none() is not None
