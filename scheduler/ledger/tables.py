"""The ledger's tables: tasks, their history, the outbox of invitations to be sent, workers, its identity.

Times are seconds since the epoch, UTC. JSON is kept as text: the ledger never looks into it.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Double, ForeignKey, Index, Integer, MetaData, String, Table, Text

metadata = MetaData()

tasks = Table(
    "tasks",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("spec", Text, nullable=False),
    Column("queue", String(100), nullable=False),
    Column("submitted_by", Text, nullable=False),
    Column("state", String(10), nullable=False),
    Column("outcome", String(10)),
    Column("reason", Text, nullable=False, default=""),
    # The last attempt that was claimed, 0 before the first.
    Column("attempt", Integer, nullable=False, default=0),
    # How many of the attempts were handed back undone: they do not count against max_attempts.
    Column("released", Integer, nullable=False, default=0),
    Column("worker", Text),
    # SHA-256 of the key that the last claim was made with.
    Column("claim_digest", String(64)),
    Column("lease_expires_at", Double),
    Column("cancel_requested", Boolean, nullable=False, default=False),
    # Not to be claimed before; ahead of now while a retry waits.
    Column("due_at", Double, nullable=False),
    # A sent invitation that nobody followed is sent again then, and the interval doubled.
    Column("resend_at", Double),
    Column("resend_interval", Double, nullable=False),
    Column("progress", Text, nullable=False, default="[]"),
    Column("report", Text),
    # SHA-256 of the last accepted report: hearing it again is harmless, hearing another one is not.
    Column("report_digest", String(64)),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("updated_at", Double, nullable=False),
    # How often the task was declined since it was claimed last.
    Column("declined", Integer, nullable=False, default=0, server_default="0"),
    # Where another worker is ready, this one is not to have the task before that time.
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
    # Never used twice: "sent" is said of an entry, and must not hit the task's next one.
    Column("entry", Integer, primary_key=True, autoincrement=True),
    Column("task_id", String(36), ForeignKey("tasks.id"), nullable=False, unique=True),
    Column("queue", String(100), nullable=False),
    Column("due_at", Double, nullable=False),
    # The relay that is sending it, and until when nobody else does.
    Column("taken_by", String(36)),
    Column("taken_until", Double, nullable=False, default=0.0, server_default="0"),
    Index("outbox_by_due", "due_at"),
    sqlite_autoincrement=True,
)

history = Table(
    "history",
    metadata,
    # It only grows: what has fewer than scheduler.ledger.mark knows of is an old copy. Never remove the last one.
    Column("entry", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("task_id", String(36), ForeignKey("tasks.id"), nullable=False),
    Column("at", Double, nullable=False),
    # See scheduler.ledger.history.Event.
    Column("event", String(20), nullable=False),
    # What the task was from then on.
    Column("state", String(10), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("worker", Text),
    Column("outcome", String(10)),
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
    # JSON: a list of names, empty where the worker has not said.
    Column("queues", Text, nullable=False),
    Column("announced_at", Double, nullable=False),
    # How many more tasks the worker would begin; NULL where it has not said.
    Column("free", Integer),
)

# Repeated submissions: the task that a caller's key stands for.
submissions = Table(
    "submissions",
    metadata,
    # SHA-256: a caller's name may be longer than what a primary key takes.
    Column("caller_digest", String(64), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("request_digest", String(64), nullable=False),
    Column("task_id", String(36), ForeignKey("tasks.id"), nullable=False),
    Column("created_at", Double, nullable=False),
    Index("submissions_by_age", "created_at"),
)

# One row, made with the tables: a copy has the same, another ledger has not.
ledger = Table(
    "ledger",
    metadata,
    Column("identity", String(36), primary_key=True),
    Column("opened_at", Double, nullable=False),
)
