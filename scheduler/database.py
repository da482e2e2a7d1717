"""The connection to the ledger's database: settings, schema, short transactions, and whose fault an error is."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event, func, make_url, select
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    NoSuchModuleError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.exc import (
    TimeoutError as PoolTimeout,
)
from sqlalchemy.pool import ConnectionPoolEntry

from alts.shared.errors import ConfigurationError, LedgerUnavailable
from scheduler import schema

# How long a transaction waits for another process that writes to the same SQLite file.
BUSY_SECONDS = 10.0
# As many as scheduler.threads lets requests look into the ledger at once, and a few for the relay, the reconciler and
# /health: nobody waits for a connection. Not many more: PostgreSQL has 100 for all schedulers (max_connections).
CONNECTIONS = 50
# Any number will do, as long as every scheduler takes the same.
_SCHEMA_LOCK = 0x616C7473


class Database:
    """Short transactions on SQLite, or on whatever else SQLAlchemy speaks to."""

    def __init__(self, url: str, *, busy_seconds: float = BUSY_SECONDS) -> None:
        """Opens the database, and brings its tables to this version's.

        Raises ConfigurationError where the address cannot be right or a newer version has used the database,
        LedgerUnavailable where nobody answers there.
        """
        parsed = _parsed(url)
        self._sqlite = parsed.get_backend_name() == "sqlite"
        self._engine = _engine(parsed, busy_seconds)
        # Writers of this process take turns here: SQLite's own waiting sleeps and retries, which under load takes
        # the slowest request to a second.
        self._writers: contextlib.AbstractContextManager[object] = (
            threading.Lock() if self._sqlite else contextlib.nullcontext()
        )
        if self._sqlite:
            _prepare_sqlite(self._engine, parsed)
        self._upgrade()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one moment and changes nothing. Raises LedgerUnavailable."""
        with _translated(), self._engine.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is on disk once the `with` is left. Raises LedgerUnavailable."""
        with _translated(), self._writers, self._engine.connect() as connection:
            connection = connection.execution_options(alts_writes=True)  # noqa: PLW2901 - the same one, marked
            with connection.begin():
                yield connection

    def close(self) -> None:
        """Give the connections back; the next transaction opens new ones."""
        self._engine.dispose()

    def _upgrade(self) -> None:
        # Several schedulers may start at once: they take turns, on SQLite because every writer does.
        with self.writing() as connection:
            if self._engine.dialect.name == "postgresql":
                connection.execute(select(func.pg_advisory_xact_lock(_SCHEMA_LOCK)))
            schema.upgrade(connection)


def folder_of(url: str) -> Path | None:
    """The folder that the ledger grows in; None where that is not on this host. Raises ConfigurationError."""
    parsed = _parsed(url)
    if parsed.get_backend_name() != "sqlite":
        return None
    return Path(str(parsed.database)).resolve().parent


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ValueError) as error:  # ValueError: a port that is no number
        raise _wrong_url("is not a database address") from error
    if backend == "sqlite":
        if parsed.database in (None, "", ":memory:") or parsed.query:
            raise _wrong_url("must name a file: a ledger in memory forgets what was accepted")
        _make_parent(Path(str(parsed.database)))
    return parsed


def _wrong_url(message: str) -> ConfigurationError:
    return ConfigurationError("database_url", message, resolution="such as sqlite:///state/ledger.sqlite")


def _make_parent(file: Path) -> None:
    try:
        file.absolute().parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError("database_url", f"cannot make {file.parent}: {error.strerror}") from error


def _engine(url: URL, busy_seconds: float) -> Engine:
    settings = {"connect_args": {"timeout": busy_seconds}} if url.get_backend_name() == "sqlite" else {}
    try:
        return create_engine(
            url,
            pool_size=CONNECTIONS,
            max_overflow=0,
            pool_timeout=busy_seconds,
            pool_pre_ping=not settings,
            **settings,
        )
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise ConfigurationError("database_url", f"needs a driver that is not installed: {error}") from error


def _prepare_sqlite(engine: Engine, url: URL) -> None:
    """WAL and full fsync, and transactions that SQLAlchemy begins instead of Python's sqlite3 module.

    sqlite3 begins late and as a reader; a reader that turns writer fails at once when somebody else wrote meanwhile
    (SQLite, "Isolation"; SQLAlchemy, "Serializable isolation / Savepoints / Transactional DDL").
    """

    @event.listens_for(engine, "connect")
    def _settle(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("alts_writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    try:
        raw = engine.raw_connection()
        try:
            raw.cursor().execute("PRAGMA journal_mode=WAL")
        finally:
            raw.close()
    except SQLAlchemyError as error:
        raise ConfigurationError("database_url", f"cannot use {url.database}: {_plain(error)}") from error
    except engine.dialect.loaded_dbapi.Error as error:
        raise ConfigurationError("database_url", f"cannot use {url.database}: {error}") from error


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (IntegrityError, ProgrammingError, DataError):
        raise  # a bug of ours, and no trouble of the database's
    except (DatabaseError, InterfaceError, PoolTimeout) as error:
        raise LedgerUnavailable(f"the ledger does not answer: {_plain(error)}") from error


def _plain(error: SQLAlchemyError) -> str:
    return " ".join(str(getattr(error, "orig", None) or error).split())
