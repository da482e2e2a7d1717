"""The Celery application of a worker process: opens the worker when Celery starts, drains and closes it at the end.

The queues are those that the configuration's runners offer on this host's architecture.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Mapping

from celery import Celery, signals

from alts.runners.registry import RUNNERS, MakeRunner
from alts.shared.broker import celery_app
from alts.shared.config import Config
from alts.shared.errors import AltsError, ConfigurationError
from alts.shared.log_lines import log_to_stderr
from alts.shared.routing import queues_of
from alts.tasks import register_task
from alts.tools.scheduler import HttpLedger, worker_tokens
from alts.worker import Worker, open_worker


class _WorkerProcess:
    """The worker of this process, opened when Celery starts it and closed when it ends."""

    def __init__(self, config: Config, runners: Mapping[str, MakeRunner]) -> None:
        self._config = config
        self._runners = runners
        self._worker: Worker | None = None

    def open(self, **_: object) -> None:
        config = self._config
        token = worker_tokens(config.workers_secret, algorithm=config.hmac_algorithm, worker=config.worker_name)
        try:
            self._worker = open_worker(config, HttpLedger(config.scheduler_url, token), runners=self._runners)
        except AltsError as error:
            sys.exit(f"alts: {error}")

    def drain(self, **_: object) -> None:
        """Celery waits for running tasks without limit: what is not done in time is handed back."""
        if self._worker is not None:
            timer = threading.Timer(self._config.drain_timeout, self._worker.drain)
            timer.daemon = True
            timer.start()

    def close(self, **_: object) -> None:
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def get(self) -> Worker:
        if self._worker is None:
            raise RuntimeError("the worker is not open")
        return self._worker


def create_worker_app(config: Config, *, runners: Mapping[str, MakeRunner] = RUNNERS) -> Celery:
    """The Celery application of a worker process; `runners` makes the runners that the configuration names.

    Raises ConfigurationError where no runner is for a host like this one: the worker would wait for ever.
    """
    if not queues_of(config.runners, config.worker_architectures):
        raise ConfigurationError("runners", f"none is for this host's architecture, {config.host_architecture}")
    celery = celery_app(config, architectures=config.worker_architectures)
    process = _WorkerProcess(config, runners)
    register_task(celery, process.get)
    # weak=False: nobody else holds these bound methods
    signals.worker_init.connect(process.open, weak=False)
    signals.worker_shutting_down.connect(process.drain, weak=False)
    signals.worker_shutdown.connect(process.close, weak=False)
    signals.setup_logging.connect(_set_up_logging, weak=False)
    return celery


def _set_up_logging(loglevel: int | str = logging.INFO, **_: object) -> None:
    log_to_stderr(loglevel)
