"""Locks on a ledger: shared by several schedulers, or exclusive for one embedded service.

An embedded service keeps its invitations in memory, where no other process can follow them.
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

# An arbitrary number that all schedulers share. scheduler.ledger.database uses another one.
_ADVISORY_LOCK = 0x616C7474
LOOK_SECONDS = 5.0


class LedgerLock(Protocol):
    """A lock that is held from its creation until close()."""

    def check(self) -> None:
        """Raises LedgerUnavailable if another service has taken the ledger."""
        ...

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """Keep all other services off the ledger during the `with`. Raises AlreadyRunning."""
        ...

    def close(self) -> None:
        """Release the lock."""
        ...


class FileLock:
    """A lock file beside the ledger's real path: links lead to the same lock, and an emptied state folder keeps it."""

    def __init__(self, ledger: LedgerFile, *, alone: bool) -> None:
        """Take the lock. Raises AlreadyRunning or ConfigurationError."""
        if ledger.names > 1:
            raise ConfigurationError(
                "database_url",
                f"{ledger.path} has a hard link, and another service may use it by that name",
                resolution="copy the file instead: SQLite keeps one log per name, and two logs corrupt the ledger",
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
        """Do nothing: a lock on a file cannot be lost."""

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock exclusively during the `with`. Raises AlreadyRunning."""
        if not relock(self._held, shared=False):
            relock(self._held, shared=True)
            raise _in_use(str(self._path), alone=True)
        try:
            yield
        finally:
            relock(self._held, shared=not self._alone)

    def close(self) -> None:
        """Release the lock."""
        os.close(self._held)


class AdvisoryLock:
    """A session-level advisory lock of PostgreSQL, on a connection of its own.

    If the connection is lost (e.g. the server was restarted), the lock is taken again, unless another service has
    taken it meanwhile.
    """

    def __init__(self, url: URL, *, alone: bool) -> None:
        """Take the lock. Raises AlreadyRunning or LedgerUnavailable."""
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
        """Raises LedgerUnavailable if another service took the lock while the connection was lost."""
        if self._taken_by_another:
            raise LedgerUnavailable(
                "another service has taken the ledger while the connection to it was lost",
                resolution="stop one of the two",
            )

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Do nothing: a database on PostgreSQL is never set aside."""
        yield

    def close(self) -> None:
        """Close the connection, which releases the lock."""
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
        # If our host dies silently, the server releases the lock after a minute instead of two hours.
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
        f"an embedded service (alts run) uses the ledger {where} exclusively", resolution="stop it first"
    )
