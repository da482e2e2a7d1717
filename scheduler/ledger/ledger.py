"""The ledger on SQL: the truth about tasks, in parts that share one database.

Every transition is one conditional change in one transaction; scheduler.ledger.transitions says what always holds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from scheduler.ledger.attempts import Attempts
from scheduler.ledger.database import Database
from scheduler.ledger.leases import Leases
from scheduler.ledger.outbox import Outbox
from scheduler.ledger.presence import Workers
from scheduler.ledger.queue import Queue
from scheduler.ledger.retry_policy import LedgerRules
from scheduler.ledger.tasks import Tasks


class SqlLedger:
    """One part for each of the ledger's users: callers, workers, the relay, the reconciler, the health checks."""

    def __init__(
        self,
        database: Database,
        rules: LedgerRules,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        outbox_filled: threading.Event | None = None,
    ) -> None:
        """Make the parts. Closing the ledger closes the database.

        `clock`: seconds since the epoch, for stored times. `monotonic`: for durations.
        `outbox_filled` is set after transactions that may have written an invitation; polling finds the others.
        """
        filled = outbox_filled or threading.Event()
        self._database = database
        self.workers = Workers(database, clock=clock, monotonic=monotonic)
        self.tasks = Tasks(database, rules, clock=clock, outbox_filled=filled)
        self.attempts = Attempts(database, rules, self.workers, clock=clock, outbox_filled=filled)
        self.outbox = Outbox(database, clock)
        self.leases = Leases(database, rules, clock=clock, outbox_filled=filled)
        self.queue = Queue(database, rules, clock=clock, outbox_filled=filled)

    def check(self) -> None:
        """Raises LedgerUnavailable if the database does not answer, is damaged, or belongs to another service."""
        self._database.check()

    def close(self) -> None:
        """Close the database. Calling it again is harmless."""
        self._database.close()
