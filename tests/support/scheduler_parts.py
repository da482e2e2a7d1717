"""Parts of the scheduler for tests: a clock that is set by hand, a ledger in a file, a server on a free port."""

from __future__ import annotations

import functools
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from alts.shared.auth.tokens import Scope, issue_token
from alts.shared.broker import celery_app
from alts.shared.clock import SteadyClock
from alts.shared.storage.local import FolderStore
from scheduler.api.application import create_app
from scheduler.background.reconciler import Reconciler
from scheduler.background.relay import Relay
from scheduler.background.stuck_tasks import StuckTasks
from scheduler.composition import Services
from scheduler.ledger.database import Database
from scheduler.ledger.disk_space import Room
from scheduler.ledger.ledger import SqlLedger
from scheduler.ledger.retry_policy import LedgerRules
from scheduler.monitoring.health import Health
from tests.support.builders import a_config

QUEUE = "docker-x86_64-0"


class HandClock:
    """A clock that only a test advances."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


def a_ledger(where: Path | str, clock: HandClock, *, filled: threading.Event | None = None, **rules: Any) -> SqlLedger:
    """Return a ledger on SQLite in that folder, or at that address. Two calls give two ledgers on one database."""
    database = a_database(where if isinstance(where, str) else f"sqlite:///{where}/ledger.sqlite")
    return SqlLedger(database, LedgerRules(**rules), clock=clock, monotonic=clock, outbox_filled=filled)


def a_database(url: str) -> Database:
    """Return a database at that address.

    A new SQLite file is a copy of one with tables, because making them takes 30 ms.
    tests/unit/scheduler/ledger/test_schema.py tests that the tables are made.
    """
    file = Path(url.removeprefix("sqlite:///"))
    if url.startswith("sqlite:///") and not file.exists():
        file.write_bytes(_new_ledger())
    return Database(url)


@functools.cache
def _new_ledger() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ledger.sqlite"
        Database(f"sqlite:///{file}").close()
        # The last connection to close has emptied the write-ahead log (SQLite, "WAL").
        assert not list(file.parent.glob("*-wal"))
        return file.read_bytes()


def lapse(ledger: SqlLedger, clock: HandClock) -> tuple[str, ...]:
    """Let the leases lapse that are over by that clock, as a watching reconciler does."""
    held = ledger.leases.held()
    return ledger.leases.expire([one for one in held if one.expires_at is not None and one.expires_at < clock.now])


def some_services(
    folder: Path, ledger: SqlLedger, *, health: Health | None = None, room: Room | None = None, **changes: Any
) -> Services:
    """Return the parts around that ledger. None runs before it is started, and no message is really sent."""
    config = a_config(storage_folder=str(folder / "storage"), **changes)
    return Services(
        config=config,
        ledger=ledger,
        celery=celery_app(config),
        storage=FolderStore(config.storage_folder),
        relay=Relay(ledger.outbox, lambda _task_id, _queue: None, filled=threading.Event()),
        reconciler=Reconciler(ledger.leases, ledger.queue, interval=3600, lease_seconds=3600),
        health=health or Health({"ledger": ledger.check}),
        stuck_tasks=StuckTasks(ledger.queue, ledger.workers),
        clock=SteadyClock(),
        room=room or Room(None),
    )


def a_token(*scopes: Scope, lifetime: timedelta = timedelta(minutes=5), email: str = "me@example.org") -> str:
    """Return a token that is good for a_config(). Its default scopes are those of callers."""
    config = a_config()
    wanted = scopes or (Scope.READ, Scope.WRITE)
    return issue_token(config.jwt_secret, algorithm="HS256", email=email, lifetime=lifetime, scopes=wanted)


def bearer(*scopes: Scope, **token: Any) -> dict[str, str]:
    """Return the header for a request."""
    return {"Authorization": f"Bearer {a_token(*scopes, **token)}"}


@contextmanager
def serving(app: ASGIApp) -> Iterator[str]:
    """Serve the application on a free port of 127.0.0.1 and yield its address."""
    server = uvicorn.Server(uvicorn.Config(app, http="h11", host="127.0.0.1", port=0, log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            thread.join(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)


@contextmanager
def served(folder: Path, ledger: SqlLedger) -> Iterator[str]:
    """Serve a scheduler with that ledger and yield its address."""
    with serving(create_app(some_services(folder, ledger))) as url:
        yield url
