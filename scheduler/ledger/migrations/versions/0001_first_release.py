"""The tables of the first release."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "tasks",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("queue", sa.String(100), nullable=False),
        sa.Column("submitted_by", sa.Text, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("outcome", sa.String(10)),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("released", sa.Integer, nullable=False),
        sa.Column("worker", sa.Text),
        sa.Column("claim_digest", sa.String(64)),
        sa.Column("lease_expires_at", sa.Double),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        sa.Column("due_at", sa.Double, nullable=False),
        sa.Column("resend_at", sa.Double),
        sa.Column("resend_interval", sa.Double, nullable=False),
        sa.Column("progress", sa.Text, nullable=False),
        sa.Column("report", sa.Text),
        sa.Column("report_digest", sa.String(64)),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("started_at", sa.Double),
        sa.Column("finished_at", sa.Double),
        sa.Column("updated_at", sa.Double, nullable=False),
    )
    op.create_index("tasks_by_lease", "tasks", ["state", "lease_expires_at"])
    op.create_index("tasks_by_resend", "tasks", ["state", "resend_at"])
    op.create_table(
        "outbox",
        sa.Column("entry", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("task_id", sa.String(36), sa.ForeignKey("tasks.id"), nullable=False, unique=True),
        sa.Column("queue", sa.String(100), nullable=False),
        sa.Column("due_at", sa.Double, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("outbox_by_due", "outbox", ["due_at"])
