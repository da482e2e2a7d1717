"""Runs the missing migrations, by Alembic."""

from __future__ import annotations

import logging
from pathlib import Path

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from alts.shared.errors import ConfigurationError

log = logging.getLogger(__name__)

FIRST = "0001"
"""The revision of databases that were made before revisions were stored."""


def migrate(db: Connection) -> None:
    """Run the missing migrations in the transaction of `db`. No other process may write meanwhile.

    Raises ConfigurationError if a newer version, or another program, made the database.
    """
    config = AlembicConfig(attributes={"connection": db})
    steps = _steps(config)
    found = MigrationContext.configure(db).get_current_revision()
    if found is None:
        tables = set(inspect(db).get_table_names())
        if "history" in tables:
            raise _wrong(
                "the database does not record its schema version",
                "restore it from a backup, or set another database_url",
            )
        if "tasks" in tables:
            command.stamp(config, FIRST)
            found = FIRST
    elif found not in {step.revision for step in steps.walk_revisions()}:
        raise _wrong(
            f"the database was made by a newer version of the service (its schema is {found})",
            f"start that version again: this one knows schemas up to {steps.get_current_head()}",
        )
    if found != steps.get_current_head():
        command.upgrade(config, "head")
        log.info("ledger's tables brought to this version's", extra={"found": found, "now": steps.get_current_head()})


def _steps(config: AlembicConfig) -> ScriptDirectory:
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return ScriptDirectory.from_config(config)


def _wrong(message: str, resolution: str) -> ConfigurationError:
    return ConfigurationError("database_url", message, resolution=resolution)
