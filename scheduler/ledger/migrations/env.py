"""Alembic's entry point. Migrations run in the transaction of the connection that scheduler.ledger.schema gives."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
