"""What Alembic runs; scheduler.ledger.schema gives it a connection, in whose transaction everything happens."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
