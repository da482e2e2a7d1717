"""The Celery application of a worker process: opens the worker when Celery starts, drains and closes it at the end.

The queues are those that the configuration's runners offer on this host's architecture.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from celery import Celery, bootsteps, signals
from celery.worker import state

from alts.client.worker_api import HttpLedger, worker_tokens
from alts.runners.registry import RUNNERS, MakeRunner
from alts.shared.broker import celery_app
from alts.shared.config import Config
from alts.shared.errors import AltsError, ConfigurationError
from alts.shared.logs import log_to_stderr
from alts.shared.models.routing import queues_of
from alts.worker.celery_task import register_task
from alts.worker.consumer import Consuming
from alts.worker.maintenance import Upkeep
from alts.worker.worker import Worker, open_worker

log = logging.getLogger(__name__)


class _WorkerProcess:
    """The worker of this process, opened when Celery starts it and closed when it ends.

    The first SIGTERM or SIGINT ends the claiming and gives what runs `drain_timeout` seconds; a second one hands
    everything back at once. Either way the process ends with 0.
    """

    def __init__(self, config: Config, runners: Mapping[str, MakeRunner]) -> None:
        self._config = config
        self._runners = runners
        self._worker: Worker | None = None
        self._upkeep: Upkeep | None = None
        self._consuming = Consuming(queues_of(config.runners, config.worker_architectures))

    def open(self, **_: object) -> None:
        config = self._config
        token = worker_tokens(config.workers_secret, algorithm=config.hmac_algorithm, worker=config.worker_name)
        try:
            self._worker = open_worker(config, HttpLedger(config.scheduler_url, token), runners=self._runners)
        except AltsError as error:
            sys.exit(f"alts: {error}")
        queues = queues_of(config.runners, config.worker_architectures)
        self._upkeep = Upkeep(self._worker, queues=queues, consume=self._consuming.want)
        self._upkeep.start()

    def consume(self, sender: Any, **_: object) -> None:
        """Celery has connected, for the first time or again."""
        self._consuming.attach(sender)
        if self._worker is not None:
            self._worker.slots = sender.pool.limit

    def on_signal(self, number: int, _frame: object) -> None:
        # From a thread: the main one may hold just the lock that this needs.
        threading.Thread(target=self._end, args=(number,), name="ending", daemon=True).start()
        # What Celery's own handlers do in the end, which for SIGINT means exit code 1, and for a second one a cold
        # shutdown that waits for nothing.
        state.should_stop = os.EX_OK

    def _end(self, number: int) -> None:
        worker = self._worker
        if worker is None:
            return
        if worker.stopping:
            log.warning("tasks are handed back at once", extra={"signal": number})
            worker.drain()
            return
        log.warning("no more tasks are taken", extra={"signal": number, "drain_timeout": self._config.drain_timeout})
        worker.stop_claiming()
        if self._upkeep is not None:
            self._upkeep.look_now()
        # Celery waits for running tasks without limit: what is not done in time is handed back.
        timer = threading.Timer(self._config.drain_timeout, worker.drain)
        timer.daemon = True
        timer.start()

    def close(self, **_: object) -> None:
        if self._upkeep is not None:
            self._upkeep.close()
            self._upkeep = None
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def get(self) -> Worker:
        if self._worker is None:
            raise RuntimeError("the worker is not open")
        return self._worker


def _taking_signals(handler: Callable[[int, object], None]) -> type[bootsteps.StartStopStep]:
    """A step of Celery's worker that puts our handler where Celery has just put its own."""

    class TakeSignals(bootsteps.StartStopStep):  # type: ignore[misc]  # celery is untyped
        def start(self, _controller: object) -> None:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, handler)

    return TakeSignals


def without_event_heartbeat(sender: Any, **_: object) -> None:
    """Let a starting Celery worker send no events every two seconds, as --without-heartbeat does.

    Nobody here listens to them; and while the broker is away, Celery's main thread tries to send one without end, and
    does not hear that it should stop (celery.worker.heartbeat, retry=True).
    """
    sender.options["without_heartbeat"] = True


def create_worker_app(config: Config, *, runners: Mapping[str, MakeRunner] = RUNNERS) -> Celery:
    """The Celery application of a worker process; `runners` makes the runners that the configuration names.

    Raises ConfigurationError where no runner is for a host like this one: the worker would wait for ever.
    """
    if not queues_of(config.runners, config.worker_architectures):
        raise ConfigurationError("runners", f"none is for this host's architecture, {config.host_architecture}")
    celery = celery_app(config, architectures=config.worker_architectures)
    process = _WorkerProcess(config, runners)
    register_task(celery, process.get)
    celery.steps["worker"].add(_taking_signals(process.on_signal))
    signals.worker_init.connect(without_event_heartbeat)
    # weak=False: nobody else holds these bound methods
    signals.worker_init.connect(process.open, weak=False)
    signals.worker_ready.connect(process.consume, weak=False)
    signals.worker_shutdown.connect(process.close, weak=False)
    signals.setup_logging.connect(_set_up_logging, weak=False)
    return celery


def _set_up_logging(loglevel: int | str = logging.INFO, **_: object) -> None:
    log_to_stderr(loglevel)
