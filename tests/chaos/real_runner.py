"""The real runner, with the execution journal kept beside it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alts.core.output import OutputSink
from alts.core.stop import Stop
from alts.runners.base import Order, Provisioned, Runner
from alts.runners.docker.runner import docker_runner
from alts.shared.config import Config
from tests.chaos.journal import Journal, Step


class JournalledRunner:
    """Another runner, whose every execution is written down."""

    def __init__(self, runner: Runner, journal: Journal, *, worker: str) -> None:
        self._runner = runner
        self._journal = journal
        self._worker = worker

    @contextmanager
    def provision(self, order: Order, *, stop: Stop, log: OutputSink) -> Iterator[Provisioned]:
        facts = {"task_id": order.task_id, "worker": self._worker, "machine": uuid.uuid4().hex}
        self._journal.write(Step.START, attempt=order.attempt, **facts)
        try:
            with self._runner.provision(order, stop=stop, log=log) as provisioned:
                yield provisioned
        finally:
            self._journal.write(Step.END, attempt=order.attempt, **facts)

    def __getattr__(self, name: str) -> Any:
        # Everything else is the runner's own, whatever the protocol asks for one day.
        return getattr(self._runner, name)


def real_runner(config: Config, *, worker: str, folder: Path, run_folder: Path) -> JournalledRunner:
    """What alts.runners.registry calls a maker of runners, once `run_folder` is bound."""
    runner = docker_runner(config, worker=worker, folder=folder)
    return JournalledRunner(runner, Journal(run_folder), worker=config.worker_name)
