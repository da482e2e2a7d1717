"""Who may use a ledger: several schedulers beside each other, or one embedded service for itself alone.

An embedded service keeps its invitations in memory, where no other process could ever follow them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, create_engine, func, select
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from alts.shared.errors import AlreadyRunning, ConfigurationError, LedgerUnavailable
from alts.shared.file_lock import relock, try_lock
from alts.shared.periodic import Loop
from scheduler.ledger.database_errors import translated
from scheduler.ledger.sqlite_files import LedgerFile

# Any numbers will do, as long as every scheduler takes the same; scheduler.ledger.database has another one.
_ADVISORY_LOCK = 0x616C7474
LOOK_SECONDS = 5.0


class LedgerLock(Protocol):
    """Held from its making until close()."""

    def check(self) -> None:
        """Raises LedgerUnavailable where another service has taken the ledger."""
        ...

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """For as long as the `with` lasts nobody else uses the ledger. Raises AlreadyRunning."""
        ...

    def close(self) -> None: ...


class FileLock:
    """Beside the ledger's file: whatever names lead there, and whatever folders are emptied, it is the same lock."""

    def __init__(self, ledger: LedgerFile, *, alone: bool) -> None:
        """Raises AlreadyRunning or ConfigurationError."""
        if ledger.names > 1:
            raise ConfigurationError(
                "database_url",
                f"{ledger.path} has another name (a hard link), under which another service may use it",
                resolution="SQLite keeps a log for each name, and they destroy each other's work: copy it instead",
            )
        self._path = ledger.path
        self._alone = alone
        path = Path(f"{ledger.path}.lock")
        try:
            held = try_lock(path, shared=not alone)
        except OSError as error:
            raise ConfigurationError("database_url", f"cannot lock {path}: {error.strerror}") from error
        if held is None:
            raise _in_use(str(ledger.path), alone=alone)
        self._held = held

    def check(self) -> None:
        """A lock on a file cannot be lost."""

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        if not relock(self._held, shared=False):
            relock(self._held, shared=True)
            raise _in_use(str(self._path), alone=True)
        try:
            yield
        finally:
            relock(self._held, shared=not self._alone)

    def close(self) -> None:
        os.close(self._held)


class AdvisoryLock:
    """On PostgreSQL: a lock of the session, and so of a connection of its own.

    Where that is lost (the server was restarted) it is taken again; another service may have been quicker.
    """

    def __init__(self, url: URL, *, alone: bool) -> None:
        """Raises AlreadyRunning or LedgerUnavailable."""
        self._engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        self._alone = alone
        self._taken_by_another = False
        self._connection: Connection | None = None
        self._loop = Loop("ledger-lock", self._look)
        with translated():
            if not self._take():
                raise _in_use(self._engine.url.render_as_string(hide_password=True), alone=alone)
        self._loop.start()

    def check(self) -> None:
        if self._taken_by_another:
            raise LedgerUnavailable(
                "another service has taken the ledger while the connection to it was lost",
                resolution="stop one of the two",
            )

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Nothing on PostgreSQL needs it: databases are not set aside."""
        yield

    def close(self) -> None:
        self._loop.close()
        self._drop()

    def _look(self) -> float:
        with translated():
            try:
                if self._connection is None:
                    self._taken_by_another = not self._take()
                else:
                    self._connection.exec_driver_sql("SELECT 1")
            except SQLAlchemyError:
                self._drop()
                raise
        return LOOK_SECONDS

    def _take(self) -> bool:
        lock = func.pg_try_advisory_lock if self._alone else func.pg_try_advisory_lock_shared
        connection = self._engine.connect()
        # Where our host dies without a word, the server gives the lock back in a minute, not in two hours.
        for setting, value in (("idle", 30), ("interval", 10), ("count", 3)):
            connection.exec_driver_sql(f"SET tcp_keepalives_{setting} = {value}")
        if connection.scalar(select(lock(_ADVISORY_LOCK))):
            self._connection = connection
            return True
        connection.close()
        return False

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(SQLAlchemyError):
                connection.close()


def _in_use(where: str, *, alone: bool) -> AlreadyRunning:
    if alone:
        return AlreadyRunning(f"another service uses the ledger {where}", resolution="stop it first")
    return AlreadyRunning(
        f"an embedded service (alts run) has the ledger {where} for itself alone", resolution="stop it first"
    )
