"""The Celery application of a worker process: opens the worker when Celery starts, drains and closes it at the end."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any

from celery import Celery, bootsteps, signals
from celery.worker import state

from alts.shared.broker import celery_app
from alts.shared.config import Config
from alts.shared.errors import AltsError
from alts.shared.logs import log_to_stderr
from alts.worker.celery_task import register_task
from alts.worker.consumer import Consuming
from alts.worker.maintenance import Upkeep
from alts.worker.worker import Worker

log = logging.getLogger(__name__)

OpenWorker = Callable[[], AbstractContextManager[tuple[Worker, Upkeep]]]
"""Raises ConfigurationError or InfrastructureError if the worker cannot run here."""


class _WorkerProcess:
    """The worker of this process, opened when Celery starts it and closed when it ends.

    The first SIGTERM or SIGINT stops claiming and gives running tasks `drain_timeout` seconds. A second one hands
    them back at once. Either way the process exits with 0.
    """

    def __init__(self, consuming: Consuming, open_worker: OpenWorker, *, drain_timeout: float) -> None:
        self._consuming = consuming
        self._open_worker = open_worker
        self._drain_timeout = drain_timeout
        self._stack = ExitStack()
        self._opened: tuple[Worker, Upkeep] | None = None

    def open(self, **_: object) -> None:
        try:
            worker, upkeep = self._stack.enter_context(self._open_worker())
        except AltsError as error:
            sys.exit(f"alts: {error}")
        self._opened = worker, self._stack.enter_context(upkeep)

    def consume(self, sender: Any, **_: object) -> None:
        """Attach Celery's consumer, which is ready for the first time."""
        self._consuming.attach(sender)

    def on_signal(self, number: int, _frame: object) -> None:
        # In a thread of its own: the main thread may hold a lock that ending needs.
        threading.Thread(target=self._end, args=(number,), name="ending", daemon=True).start()
        # Celery's own handlers set this too. For SIGINT they set exit code 1; on a second signal they shut down cold,
        # without waiting for tasks.
        state.should_stop = os.EX_OK

    def _end(self, number: int) -> None:
        if self._opened is None:
            return
        worker, upkeep = self._opened
        if worker.stopping:
            log.warning("tasks are handed back at once", extra={"signal": number})
            worker.drain()
            return
        log.warning("no more tasks are taken", extra={"signal": number, "drain_timeout": self._drain_timeout})
        worker.stop_claiming()
        upkeep.look_now()
        # Celery waits for running tasks without limit: after drain_timeout the worker hands them back.
        timer = threading.Timer(self._drain_timeout, worker.drain)
        timer.daemon = True
        timer.start()

    def close(self, **_: object) -> None:
        self._stack.close()
        self._opened = None

    def get(self) -> Worker:
        if self._opened is None:
            raise RuntimeError("the worker is not open")
        return self._opened[0]


def _taking_signals(handler: Callable[[int, object], None]) -> type[bootsteps.StartStopStep]:
    """Return a start step of Celery's worker that replaces Celery's signal handlers, just set, with ours."""

    class TakeSignals(bootsteps.StartStopStep):  # type: ignore[misc]  # celery is untyped
        def start(self, _controller: object) -> None:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, handler)

    return TakeSignals


def without_event_heartbeat(sender: Any, **_: object) -> None:
    """Keep a starting Celery worker from sending an event every two seconds, as --without-heartbeat does.

    Nothing reads these events. While the broker is away, Celery's main thread retries one without end and does not
    see a request to stop (celery.worker.heartbeat, retry=True).
    """
    sender.options["without_heartbeat"] = True


def worker_app(config: Config, consuming: Consuming, open_worker: OpenWorker) -> Celery:
    """Return the Celery application of a worker process, which calls `open_worker` when Celery starts."""
    celery = celery_app(config, architectures=config.worker_architectures)
    process = _WorkerProcess(consuming, open_worker, drain_timeout=config.drain_timeout)
    register_task(celery, process.get)
    celery.steps["worker"].add(_taking_signals(process.on_signal))
    signals.worker_init.connect(without_event_heartbeat)
    # weak=False: these bound methods have no other reference.
    signals.worker_init.connect(process.open, weak=False)
    signals.worker_ready.connect(process.consume, weak=False)
    signals.worker_shutdown.connect(process.close, weak=False)
    signals.setup_logging.connect(_set_up_logging, weak=False)
    return celery


def _set_up_logging(loglevel: int | str = logging.INFO, **_: object) -> None:
    log_to_stderr(loglevel)
