"""A runner with the execution journal beside it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from alts.core.output import OutputSink
from alts.core.stop import Stop
from alts.runners.base import MachineRequest, Provisioned, Runner
from alts.runners.pool.composition import with_pool
from alts.runners.registry import RUNNERS
from alts.shared.config import Config
from tests.chaos.journal import Journal, Step
from tests.chaos.stub_runner import StubRunner


class JournalledRunner:
    """Writes every execution of another runner to the journal."""

    def __init__(self, runner: Runner, journal: Journal, *, worker: str, stub: bool) -> None:
        """`stub`: the machines are files, which nothing removes but the runner itself."""
        self._runner = runner
        self._journal = journal
        self._worker = worker
        self._stub = stub

    @contextmanager
    def make(self, request: MachineRequest, *, stop: Stop, log: OutputSink) -> Iterator[Provisioned]:
        execution = uuid.uuid4().hex
        facts = {"task_id": request.task_id, "worker": self._worker}
        self._journal.write(Step.START, attempt=request.attempt, machine=execution, **facts)
        try:
            with self._runner.make(request, stop=stop, log=log) as made:
                self._journal.write(Step.TAKEN, attempt=request.attempt, machine=made.instance.name, **facts)
                try:
                    yield replace(made, image={**made.image, "id": execution}) if self._stub else made
                finally:
                    if self._stub and not made.instance.alive():
                        self._journal.write(Step.ROBBED, attempt=request.attempt, machine=execution, **facts)
        finally:
            self._journal.write(Step.END, attempt=request.attempt, machine=execution, **facts)

    def __getattr__(self, name: str) -> Any:
        # All other attributes of the protocol are the runner's own.
        return getattr(self._runner, name)


def real_runner(config: Config, *, worker: str, folder: Path, run_folder: Path) -> JournalledRunner:
    """Make the runner. With `run_folder` bound, the signature is that of a maker in alts.runners.registry."""
    runner = RUNNERS["docker"](config, worker=worker, folder=folder)
    return JournalledRunner(runner, Journal(run_folder), worker=config.worker_name, stub=False)


def stub_runner(config: Config, *, worker: str, folder: Path, run_folder: Path) -> JournalledRunner:
    """Make a runner of stub machines, as real_runner() does."""
    runner = with_pool(StubRunner(run_folder, worker=worker), config, folder=folder)
    return JournalledRunner(runner, Journal(run_folder), worker=config.worker_name, stub=True)
