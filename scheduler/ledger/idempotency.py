"""Idempotency keys: a repeated request returns the task that the first one created."""

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
    """A request with its caller's Idempotency-Key."""

    caller: str
    key: str
    """Unique per caller: the same key of another caller is a different key."""
    spec: TaskSpec

    @property
    def caller_digest(self) -> str:
        """SHA-256 of the caller's name, in hexadecimal."""
        return hashlib.sha256(self.caller.encode("utf-8", "replace")).hexdigest()

    @property
    def request_digest(self) -> str:
        """SHA-256 of the request, in hexadecimal. Formatting and spelled-out defaults make no difference."""
        return hashlib.sha256(self.spec.model_dump_json(exclude_defaults=True).encode()).hexdigest()


def task_of(db: Connection, submission: Submission, *, since: float) -> str | None:
    """Return the id of the task that the key created after `since`, or None.

    Raises KeyReused if the key came with a different request.
    """
    query = select(submissions.c.task_id, submissions.c.request_digest).where(
        submissions.c.caller_digest == submission.caller_digest,
        submissions.c.key == submission.key,
        submissions.c.created_at >= since,
    )
    row = db.execute(query).one_or_none()
    if row is None:
        return None
    check_same(submission, row.request_digest)
    return str(row.task_id)


def check_same(submission: Submission, request_digest: str) -> None:
    """Raises KeyReused if the key's first request was a different one. `request_digest`: the first request's."""
    if request_digest != submission.request_digest:
        raise KeyReused(
            "this Idempotency-Key was sent with another request before", resolution="use a new key for each new request"
        )


def remember(db: Connection, submission: Submission, task_id: str, *, now: float, since: float) -> bool:
    """Store the key with its task, and delete keys older than `since`.

    Return False if another request has stored the key meanwhile.
    """
    db.execute(delete(submissions).where(submissions.c.created_at < since))
    new = insert_on(db, submissions).values(
        caller_digest=submission.caller_digest,
        key=submission.key,
        request_digest=submission.request_digest,
        task_id=task_id,
        created_at=now,
    )
    # RETURNING, because PostgreSQL's driver does not report an insert's row count.
    return db.execute(new.on_conflict_do_nothing().returning(submissions.c.task_id)).one_or_none() is not None
