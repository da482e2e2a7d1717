"""History, workers' announcements, idempotency keys, and an outbox for several relays."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("tasks", sa.Column("declined", sa.Integer, nullable=False, server_default="0"))
    op.add_column("tasks", sa.Column("avoided_worker", sa.Text))
    op.add_column("tasks", sa.Column("avoided_until", sa.Double))
    op.create_index("tasks_by_caller", "tasks", ["submitted_by", "state"])
    op.create_index("tasks_by_age", "tasks", ["created_at", "id"])
    op.add_column("outbox", sa.Column("taken_by", sa.String(36)))
    op.add_column("outbox", sa.Column("taken_until", sa.Double, nullable=False, server_default="0"))
    op.create_table(
        "history",
        sa.Column("entry", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("task_id", sa.String(36), sa.ForeignKey("tasks.id"), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("event", sa.String(20), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("worker", sa.Text),
        sa.Column("outcome", sa.String(10)),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("artifacts", sa.Text),
    )
    op.create_index("history_by_task", "history", ["task_id", "entry"])
    op.create_table(
        "workers",
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("ready", sa.Boolean, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("queues", sa.Text, nullable=False),
        sa.Column("announced_at", sa.Double, nullable=False),
    )
    op.create_table(
        "submissions",
        sa.Column("caller_digest", sa.String(64), primary_key=True),
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("request_digest", sa.String(64), nullable=False),
        sa.Column("task_id", sa.String(36), sa.ForeignKey("tasks.id"), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
    )
    op.create_index("submissions_by_age", "submissions", ["created_at"])
