"""The ledger's database: opened, checked, upgraded, and used in short transactions."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from errno import ENOSPC
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event, func, make_url, select
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from alts.shared.errors import ConfigurationError, LedgerDamaged, LedgerFull, LedgerRefused
from scheduler.ledger import identity, schema
from scheduler.ledger.database_errors import is_damage, plain, translated
from scheduler.ledger.guard import Guard
from scheduler.ledger.history import LAST_ENTRY
from scheduler.ledger.identity import Found
from scheduler.ledger.lock import AdvisoryLock, FileLock, LedgerLock
from scheduler.ledger.sqlite_files import LedgerFile
from scheduler.ledger.tables import tasks

log = logging.getLogger(__name__)

# For a ledger that is not in a folder of this host.
STATE_FOLDER = Path(".alts/scheduler")
# Time that a transaction waits for another process that writes to the same SQLite file.
BUSY_SECONDS = 10.0
# One for each thread of scheduler.api.threads that may use the ledger, and a few for the relay, the reconciler and
# /health, so that none waits for a connection. Not many more: PostgreSQL has 100 for all schedulers (max_connections).
CONNECTIONS = 50
# A gigabyte takes one second from the page cache, ten seconds from a slow disk.
PAGE_CHECK_SECONDS = 20.0
# An arbitrary number that all schedulers share.
_SCHEMA_LOCK = 0x616C7473


class Database:
    """Short transactions on SQLite or PostgreSQL. Any thread may use it."""

    def __init__(
        self, url: str, *, busy_seconds: float = BUSY_SECONDS, guard: Guard | None = None, alone: bool = False
    ) -> None:
        """Open the database and upgrade its tables to this version's.

        `guard` checks that it is the right ledger. `alone`: no other process may use it.
        Raises ConfigurationError if the URL is wrong or a newer version has used the database, LedgerRefused if it is
        damaged or not the ledger that the mark names, AlreadyRunning if another service uses it, LedgerUnavailable if
        the server does not answer.
        """
        parsed = _parsed(url)
        self._where = parsed.render_as_string(hide_password=True)
        self._sqlite = parsed.get_backend_name() == "sqlite"
        self._file = LedgerFile.at(str(parsed.database)) if self._sqlite else None
        self._guard = guard
        self._damage: LedgerDamaged | None = None
        self._in_use = False
        self._closed = False
        self._put_off = False
        """Whether the mark must still be written, because the disk was full at the start."""
        # This process's writers wait here in turn. SQLite itself waits by sleeping and retrying, and under load the
        # slowest request would take a second.
        self._writers: contextlib.AbstractContextManager[object] = (
            threading.Lock() if self._sqlite else contextlib.nullcontext()
        )
        with contextlib.ExitStack() as undo:
            if guard is not None:
                undo.callback(guard.close, in_order=False)
            self._engine = _engine(parsed, busy_seconds)
            undo.callback(self._engine.dispose)
            self._lock = _lock(parsed, self._file, alone=alone)
            undo.callback(self._lock.close)
            if self._file is not None:
                self._where = str(self._file.path)
                _settle_connections(self._engine)
            self._open_or_replace()
            self._in_use = True
            undo.pop_all()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a read-only transaction that sees one moment. Raises LedgerUnavailable."""
        with self._noticing_damage(), self._engine.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a transaction that is on disk when the `with` ends, unless it raises. Raises LedgerUnavailable."""
        with self._noticing_damage(), self._writers, self._engine.connect() as connection:
            connection = connection.execution_options(alts_writes=True)  # noqa: PLW2901 - the same connection, marked
            connection.info.pop(LAST_ENTRY, None)
            with connection.begin():
                yield connection
                late = identity.opened(connection, now=time.time()) if self._put_off else None
            entry = connection.info.pop(LAST_ENTRY, None)
        if late is not None:
            self._tell_mark(late)
        # After the commit, because the mark must never be ahead of the ledger.
        if entry is not None and self._guard is not None:
            self._guard.committed(entry)

    def check(self) -> None:
        """Raises LedgerUnavailable if the ledger doesn't answer, was found damaged, or another service has taken it."""
        if self._damage is not None:
            # A new error each time: an error that is raised repeatedly collects tracebacks.
            raise LedgerDamaged(self._damage.message, resolution=self._damage.resolution)
        self._lock.check()
        with self.reading() as connection:
            connection.execute(select(tasks.c.id).limit(1))

    def close(self) -> None:
        """Close the connections, the mark and the lock. Calling it again is harmless."""
        if self._closed:
            return
        self._closed = True
        self._engine.dispose()
        if self._guard is not None:
            self._guard.close(in_order=self._damage is None)
        self._lock.close()

    @contextlib.contextmanager
    def _noticing_damage(self) -> Iterator[None]:
        try:
            with translated():
                yield
        except LedgerDamaged as error:
            if self._in_use and self._damage is None:
                log.error("the ledger is damaged", extra={"ledger": self._where, "reason": str(error)})  # noqa: TRY400
            self._damage = error
            raise

    def _open_or_replace(self) -> None:
        try:
            self._open()
        except LedgerRefused as refusal:
            if self._file is None or self._guard is None or not self._guard.wants_new:
                raise
            self._engine.dispose()
            with self._lock.alone():
                kept = self._file.set_aside(f".lost-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
            log.warning("a new ledger is begun", extra={"reason": refusal.message, "kept": str(kept)})
            self._guard.forget()
            self._damage = None
            self._open()

    def _open(self) -> None:
        """Raises LedgerRefused if the database is damaged or not the ledger that the mark names."""
        try:
            if self._file is not None:
                self._open_file(self._file)
            found = self._upgrade()
        except LedgerDamaged as error:
            raise self._refusal_of_damage(error) from error
        except LedgerFull as full:
            self._open_to_read(full)
        else:
            self._tell_mark(found)

    def _open_to_read(self, full: LedgerFull) -> None:
        """Serve reads while the disk is full. The first successful write completes the opening. Raises LedgerFull."""
        with self.reading() as connection:
            if self._guard is not None:
                self._guard.check(identity.look(connection), self._where)
            if not schema.is_current(connection):
                raise full
        log.warning("the ledger is opened to be read: its disk is full", extra={"ledger": self._where})
        self._put_off = True

    def _tell_mark(self, found: Found) -> None:
        """Raises ConfigurationError if the mark cannot be written, except on a full disk."""
        try:
            if self._guard is not None:
                self._guard.opened(found)
            self._put_off = False
        except OSError as error:
            if error.errno != ENOSPC:
                raise ConfigurationError("state_folder", f"the ledger's mark cannot be written: {error}") from error
            log.warning("the ledger's mark is not written: its disk is full", extra={"ledger": self._where})
            self._put_off = True

    def _open_file(self, file: LedgerFile) -> None:
        with self._noticing_damage():
            if self._guard is not None and self._guard.has_mark:
                self._guard.check_files(file)
                _look(file, self._guard)
            _use_wal(self._engine, file)

    def _upgrade(self) -> Found:
        # Several schedulers may start at once, and take turns. On SQLite writers take turns anyway.
        with self.writing() as connection:
            if self._engine.dialect.name == "postgresql":
                connection.execute(select(func.pg_advisory_xact_lock(_SCHEMA_LOCK)))
            if self._guard is not None:
                self._guard.check(identity.look(connection), self._where)
            schema.upgrade(connection)
            return identity.opened(connection, now=time.time())

    def _refusal_of_damage(self, error: LedgerDamaged) -> LedgerRefused:
        reason = plain(error.__cause__) if isinstance(error.__cause__, Exception) else error.message
        if self._guard is not None:
            return self._guard.damaged(self._where, reason)
        return LedgerRefused(f"the ledger {self._where} is damaged: {reason}", resolution="restore it from a backup")


def mark_path(url: str, state_folder: Path | None) -> Path:
    """Return the path of the ledger's mark. `state_folder` is a configuration key. Raises ConfigurationError."""
    parsed = _parsed(url)
    if state_folder is not None:
        return state_folder.absolute() / "ledger.mark"
    if parsed.get_backend_name() == "sqlite":
        return Path(f"{LedgerFile.at(str(parsed.database)).path}.mark")
    return STATE_FOLDER.absolute() / "ledger.mark"


def folder_of(url: str) -> Path | None:
    """Return the folder of the ledger's file; None if it is not on this host. Raises ConfigurationError."""
    parsed = _parsed(url)
    if parsed.get_backend_name() != "sqlite":
        return None
    return Path(str(parsed.database)).resolve().parent


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ValueError) as error:  # ValueError: the port is not a number
        raise _wrong_url("is not a database address") from error
    if backend == "sqlite":
        if parsed.database in (None, "", ":memory:") or parsed.query:
            raise _wrong_url("must name a file: a ledger in memory forgets what was accepted")
        _make_parent(Path(str(parsed.database)))
    return parsed


def _wrong_url(message: str) -> ConfigurationError:
    return ConfigurationError("database_url", message, resolution="for example sqlite:///state/ledger.sqlite")


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


def _lock(url: URL, file: LedgerFile | None, *, alone: bool) -> LedgerLock:
    return AdvisoryLock(url, alone=alone) if file is None else FileLock(file, alone=alone)


def _settle_connections(engine: Engine) -> None:
    """Turn on full fsync, and let SQLAlchemy begin transactions instead of Python's sqlite3 module.

    sqlite3 begins transactions late and as readers. A reader that becomes a writer fails at once if another
    transaction wrote meanwhile (SQLite, "Isolation"; SQLAlchemy, "Serializable isolation / Savepoints / Transactional
    DDL").
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


def _look(file: LedgerFile, guard: Guard) -> None:
    """Check the ledger read-only. Raises LedgerRefused or ConfigurationError; damage is raised as the driver's error.

    The last writing connection that closes would copy the write-ahead log into the file and remove the log. Read-only,
    a refused ledger stays as it was found.
    """
    address = f"{file.path.as_uri()}?mode=ro"
    engine = create_engine(
        "sqlite://", creator=lambda: sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS), poolclass=NullPool
    )
    with _usable(file), engine.connect() as db:
        if guard.doubts:
            _check_pages(db)
        guard.check(identity.look(db), str(file.path))


def _use_wal(engine: Engine, file: LedgerFile) -> None:
    """Raises ConfigurationError; damage is raised as the driver's error."""
    with _usable(file), contextlib.closing(engine.raw_connection()) as raw:
        raw.cursor().execute("PRAGMA journal_mode=WAL")


@contextlib.contextmanager
def _usable(file: LedgerFile) -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        if is_damage(error):
            raise
        raise ConfigurationError("database_url", f"cannot use {file.path}: {plain(error)}") from error


def _check_pages(db: Connection) -> None:
    """Raises LedgerDamaged if SQLite finds a damaged page within PAGE_CHECK_SECONDS."""
    raw: sqlite3.Connection = db.connection.driver_connection  # type: ignore[assignment]
    timer = threading.Timer(PAGE_CHECK_SECONDS, raw.interrupt)
    timer.daemon = True
    try:
        timer.start()
        [[verdict]] = raw.execute("PRAGMA quick_check(1)").fetchall()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        log.warning("the ledger is too large to look at every page", extra={"seconds": PAGE_CHECK_SECONDS})
    else:
        if verdict != "ok":
            raise LedgerDamaged(" ".join(verdict.removeprefix("*** in database main ***").split()))
    finally:
        timer.cancel()
