"""Translation of database errors: the database is unavailable, damaged or full, or the error is a bug of ours."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

from sqlalchemy.exc import DatabaseError, DataError, IntegrityError, InterfaceError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from alts.shared.errors import LedgerDamaged, LedgerFull, LedgerUnavailable

_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
# PostgreSQL, "Error Codes", class XX: data_corrupted, index_corrupted.
_STATES_OF_DAMAGE = ("XX001", "XX002")


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raises LedgerUnavailable, LedgerDamaged or LedgerFull in place of the driver's errors."""
    try:
        yield
    except (IntegrityError, ProgrammingError, DataError):
        raise  # a bug of ours
    except (DatabaseError, InterfaceError, PoolTimeout, sqlite3.DatabaseError) as error:
        if is_damage(error):
            raise LedgerDamaged(
                f"the ledger is damaged: {plain(error)}",
                resolution="stop the service, restore the ledger from a backup; the next start says what else there is",
            ) from error
        if _code(error) == sqlite3.SQLITE_FULL:
            raise LedgerFull(f"the ledger's disk is full: {plain(error)}") from error
        raise LedgerUnavailable(f"the ledger does not answer: {plain(error)}") from error


def is_damage(error: Exception) -> bool:
    """Whether the error says that the database's content is damaged."""
    origin = getattr(error, "orig", None) or error
    return _code(error) in _DAMAGE or getattr(origin, "sqlstate", None) in _STATES_OF_DAMAGE


def _code(error: Exception) -> int:
    """SQLite's primary result code: the low byte of the extended code (sqlite.org/rescode.html). 0 for PostgreSQL."""
    origin = getattr(error, "orig", None) or error
    return int(getattr(origin, "sqlite_errorcode", 0)) & 0xFF


def plain(error: Exception) -> str:
    """Return the driver's message in one line."""
    return " ".join(str(getattr(error, "orig", None) or error).split())
