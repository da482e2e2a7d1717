"""The tables: tasks, history, outbox, workers, submissions and the ledger's identity.

Times are seconds since the epoch, UTC. JSON is stored as text, so rows of an older version stay readable. Reports and
requests are decoded by the caller.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)

from alts.shared.models.ledger import TaskState
from alts.shared.models.report import Outcome
from scheduler.ledger.event import Event

metadata = MetaData()


class EnumText(TypeDecorator[StrEnum]):
    """An enum that is stored as the text of its value."""

    impl = String
    cache_ok = True

    def __init__(self, kind: type[StrEnum], length: int) -> None:
        super().__init__(length)
        self.kind = kind

    def process_bind_param(self, value: StrEnum | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's
        return None if value is None else str(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> StrEnum | None:  # noqa: ARG002
        return self.kind(value) if value else None


tasks = Table(
    "tasks",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("spec", Text, nullable=False),
    Column("queue", String(100), nullable=False),
    Column("submitted_by", Text, nullable=False),
    Column("state", EnumText(TaskState, 10), nullable=False),
    Column("outcome", EnumText(Outcome, 10)),
    Column("reason", Text, nullable=False, default=""),
    # Number of the last claimed attempt; 0 before the first.
    Column("attempt", Integer, nullable=False, default=0),
    # Number of attempts handed back unfinished. They do not count against max_attempts.
    Column("released", Integer, nullable=False, default=0),
    Column("worker", Text),
    # SHA-256 of the last claim's key.
    Column("claim_digest", String(64)),
    Column("lease_expires_at", Double),
    Column("cancel_requested", Boolean, nullable=False, default=False),
    # The task cannot be claimed before. Lies ahead of now while a retry waits.
    Column("due_at", Double, nullable=False),
    # An invitation that no worker followed is sent again at this time, and the interval doubles.
    Column("resend_at", Double),
    Column("resend_interval", Double, nullable=False),
    Column("progress", Text, nullable=False, default="[]"),
    Column("report", Text),
    # SHA-256 of the last accepted report: the same report may come again, another one is refused.
    Column("report_digest", String(64)),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("updated_at", Double, nullable=False),
    # Number of times the task was declined since the last claim.
    Column("declined", Integer, nullable=False, default=0, server_default="0"),
    # While another worker is ready, this worker cannot claim the task before avoided_until.
    Column("avoided_worker", Text),
    Column("avoided_until", Double),
    Index("tasks_by_lease", "state", "lease_expires_at"),
    Index("tasks_by_resend", "state", "resend_at"),
    Index("tasks_by_caller", "submitted_by", "state"),
    Index("tasks_by_age", "created_at", "id"),
)

outbox = Table(
    "outbox",
    metadata,
    # Never reused: marking an entry as sent must not hit the task's next entry.
    Column("entry", Integer, primary_key=True, autoincrement=True),
    Column("task_id", String(36), ForeignKey("tasks.id"), nullable=False, unique=True),
    Column("queue", String(100), nullable=False),
    Column("due_at", Double, nullable=False),
    # The relay that is sending the entry. Other relays leave it alone until taken_until.
    Column("taken_by", String(36)),
    Column("taken_until", Double, nullable=False, default=0.0, server_default="0"),
    Index("outbox_by_due", "due_at"),
    sqlite_autoincrement=True,
)

history = Table(
    "history",
    metadata,
    # Entries are never removed: a ledger whose highest entry is below that of scheduler.ledger.mark is an old copy.
    Column("entry", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("task_id", String(36), ForeignKey("tasks.id"), nullable=False),
    Column("at", Double, nullable=False),
    Column("event", EnumText(Event, 20), nullable=False),
    # The task's state after the transition.
    Column("state", EnumText(TaskState, 10), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("worker", Text),
    Column("outcome", EnumText(Outcome, 10)),
    Column("reason", Text, nullable=False, default=""),
    Column("artifacts", Text),
    Index("history_by_task", "task_id", "entry"),
)

workers = Table(
    "workers",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("ready", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    # JSON: a list of queue names, empty if the worker has not named any.
    Column("queues", Text, nullable=False),
    Column("announced_at", Double, nullable=False),
    # Number of tasks that the worker could begin; NULL if it has not said.
    Column("free", Integer),
)

# The task for each Idempotency-Key of a caller.
submissions = Table(
    "submissions",
    metadata,
    # SHA-256: a caller's name may exceed the length limit of a primary key.
    Column("caller_digest", String(64), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("request_digest", String(64), nullable=False),
    Column("task_id", String(36), ForeignKey("tasks.id"), nullable=False),
    Column("created_at", Double, nullable=False),
    Index("submissions_by_age", "created_at"),
)

# One row, made with the tables. A copy of the ledger has the same identity; another ledger has a different one.
ledger = Table(
    "ledger",
    metadata,
    Column("identity", String(36), primary_key=True),
    Column("opened_at", Double, nullable=False),
)
