"""The ledger's identity."""

from __future__ import annotations

import time
import uuid

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    ledger = op.create_table(
        "ledger",
        sa.Column("identity", sa.String(36), primary_key=True),
        sa.Column("opened_at", sa.Double, nullable=False),
    )
    op.bulk_insert(ledger, [{"identity": str(uuid.uuid4()), "opened_at": time.time()}])
