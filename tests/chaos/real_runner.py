"""The real runner, with the execution journal beside it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alts.core.output import OutputSink
from alts.core.stop import Stop
from alts.runners.base import MachineRequest, Provisioned, Runner
from alts.runners.docker.composition import docker_runner
from alts.shared.config import Config
from tests.chaos.journal import Journal, Step


class JournalledRunner:
    """Writes every execution of another runner to the journal."""

    def __init__(self, runner: Runner, journal: Journal, *, worker: str) -> None:
        self._runner = runner
        self._journal = journal
        self._worker = worker

    @contextmanager
    def make(self, request: MachineRequest, *, stop: Stop, log: OutputSink) -> Iterator[Provisioned]:
        facts = {"task_id": request.task_id, "worker": self._worker, "machine": uuid.uuid4().hex}
        self._journal.write(Step.START, attempt=request.attempt, **facts)
        try:
            with self._runner.make(request, stop=stop, log=log) as made:
                yield made
        finally:
            self._journal.write(Step.END, attempt=request.attempt, **facts)

    def __getattr__(self, name: str) -> Any:
        # All other attributes of the protocol are the runner's own.
        return getattr(self._runner, name)


def real_runner(config: Config, *, worker: str, folder: Path, run_folder: Path) -> JournalledRunner:
    """Make the runner. With `run_folder` bound, the signature is that of a maker in alts.runners.registry."""
    runner = docker_runner(config, worker=worker, folder=folder)
    return JournalledRunner(runner, Journal(run_folder), worker=config.worker_name)
