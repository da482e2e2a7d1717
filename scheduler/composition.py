"""The parts of a running scheduler, built from the configuration."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial
from types import TracebackType

from celery import Celery

from alts.shared.broker import celery_app, check_broker, send_invitation
from alts.shared.clock import SteadyClock
from alts.shared.config import Config
from alts.shared.models.consent import Consent
from alts.shared.storage.base import ArtifactStore
from alts.shared.storage.factory import artifact_store
from scheduler.background.reconciler import Reconciler
from scheduler.background.relay import Relay
from scheduler.background.stuck_tasks import StuckTasks
from scheduler.ledger.database import Database, folder_of, mark_path
from scheduler.ledger.disk_space import Room
from scheduler.ledger.guard import Guard
from scheduler.ledger.ledger import SqlLedger
from scheduler.ledger.mark import MarkFile
from scheduler.ledger.presence import check_workers
from scheduler.ledger.retry_policy import LedgerRules
from scheduler.monitoring.health import CHECK_SECONDS, Health


@dataclass(frozen=True)
class Services:
    """The parts of a scheduler. Start and close them once: by a `with`, or by the application's lifespan."""

    config: Config
    ledger: SqlLedger
    celery: Celery
    storage: ArtifactStore
    relay: Relay
    reconciler: Reconciler
    health: Health
    stuck_tasks: StuckTasks
    clock: SteadyClock
    room: Room

    def start(self) -> None:
        """Start the background threads: relay, reconciler and the watch for stuck tasks."""
        self.relay.start()
        self.reconciler.start()
        self.stuck_tasks.start()

    def close(self) -> None:
        """End the threads and close all connections."""
        self.stuck_tasks.close()
        self.reconciler.close()
        self.relay.close()
        self.health.close()
        self.celery.close()
        self.ledger.close()

    def __enter__(self) -> Services:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def build_services(config: Config, consent: Consent = Consent()) -> Services:  # noqa: B008 - frozen
    """Open the ledger and build the other parts. No thread is started and no invitation is sent yet.

    `consent`: the operator's permission to go on with a different or a new ledger after a loss.
    Raises ConfigurationError (or its subclass LedgerRefused), AlreadyRunning or LedgerUnavailable.
    """
    outbox_filled = threading.Event()
    rules = LedgerRules(
        lease_seconds=config.lease_seconds,
        max_attempts=config.max_attempts,
        retry_delay=config.retry_delay,
        retry_delay_max=config.retry_delay_max,
        retry_elsewhere_seconds=config.retry_elsewhere_seconds,
        resend_after=config.resend_after,
        idempotency_seconds=config.idempotency_hours * 3600,
    )
    clock = SteadyClock()
    ledger = SqlLedger(_database(config, consent), rules, clock=clock, outbox_filled=outbox_filled)
    stuck_tasks = StuckTasks(ledger.queue, ledger.workers)
    celery = celery_app(config)
    storage = artifact_store(config)
    room = Room(folder_of(config.database_url))

    def ledger_and_room() -> None:
        ledger.check()
        room.check()

    checks = {"ledger": ledger_and_room, "storage": storage.check}
    checks["tasks"] = stuck_tasks.check
    checks["workers"] = partial(check_workers, ledger.workers.present)
    checks["broker"] = partial(check_broker, celery, seconds=CHECK_SECONDS)
    return Services(
        config=config,
        ledger=ledger,
        celery=celery,
        storage=storage,
        relay=Relay(ledger.outbox, partial(send_invitation, celery), filled=outbox_filled),
        reconciler=Reconciler(
            ledger.leases,
            ledger.queue,
            interval=config.reconcile_interval,
            lease_seconds=config.lease_seconds,
            # The embedded broker keeps its messages in memory, so they ended with the last process.
            queue_lost=config.embedded,
        ),
        health=Health(checks),
        stuck_tasks=stuck_tasks,
        clock=clock,
        room=room,
    )


def _database(config: Config, consent: Consent) -> Database:
    # The mark is read before the ledger: another process may be writing, and a ledger may only be ahead of its mark.
    guard = Guard(MarkFile(mark_path(config.database_url, config.state_folder)), consent)
    return Database(config.database_url, guard=guard, alone=config.embedded)
