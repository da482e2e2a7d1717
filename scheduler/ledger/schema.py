"""The revision of the database's tables, and their upgrade to this version's."""

from __future__ import annotations

from sqlalchemy import Connection, inspect, text

HEAD = "0004"
"""This version's revision: the last one in migrations/versions/."""


def is_current(db: Connection) -> bool:
    """Whether the tables are at this version's revision."""
    if not inspect(db).has_table("alembic_version"):
        return False
    return db.execute(text("SELECT version_num FROM alembic_version")).scalars().all() == [HEAD]


def upgrade(db: Connection) -> None:
    """Run the missing migrations in the transaction of `db`. No other process may write meanwhile.

    Raises ConfigurationError if a newer version, or another program, made the database.
    """
    if is_current(db):
        return
    # Importing Alembic takes a quarter of a scheduler's start, and most starts find nothing to do.
    from scheduler.ledger.migrations.steps import migrate  # noqa: PLC0415

    migrate(db)
