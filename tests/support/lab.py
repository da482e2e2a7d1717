"""Concurrent attempts on real machines, without a scheduler, a broker or a store."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from alts.core.stop import Stop
from alts.package_managers.registry import PACKAGE_MANAGERS
from alts.pipeline.plans import PLANS, with_timeouts
from alts.pipeline.stage import Stage
from alts.runners.base import Order, Runner
from alts.runners.docker.composition import docker_runner
from alts.runners.registry import MakeRunner
from alts.shared.models.report import Report
from alts.worker.executor import Executor
from alts.worker.work_folder import WorkFolder
from tests.support.builders import a_config, a_spec
from tests.support.checkout import ROOT
from tests.support.fakes import FakeSpool
from tests.support.machine_slots import AT_ONCE, SHARED, MachineSlots

Key = TypeVar("Key")

SECONDS = 1800.0  # of one attempt on a busy host, including the wait for its turn


class Lab:
    """Runs attempts in the order of the requests, between `__enter__` and `__exit__`.

    A fixture waits for all attempts before its tests get the reports. pytest writes the current test into the
    environment, and a thread that reads the environment at that moment fails. Libraries do read it.
    """

    def __init__(self, folder: Path, *, make_runner: MakeRunner = docker_runner, **changes: Any) -> None:
        """`changes` are keys of the configuration."""
        self._work = WorkFolder(folder / "work")
        self._work.reset()
        self._config = a_config(cache_folder=str(ROOT / ".alts/cache"), **changes)
        self.runner = make_runner(self._config, worker=self._work.identity, folder=self._work.shared)
        self._plans = with_timeouts(PLANS, self._config.stage_timeouts)
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="attempt")
        self._slots = MachineSlots(SHARED)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
        self.close()

    def close(self) -> None:
        """Release what all attempts had in common. `__exit__` calls it after the last attempt."""
        self.runner.close()
        self._work.close()

    def submit(
        self, spec: Mapping[str, Any], *, plan: Sequence[Stage] | None = None, runner: Runner | None = None
    ) -> Future[Report]:
        """Start an attempt and return its future report.

        `plan` and `runner` replace the spec's plan and the lab's runner.
        """
        return self._pool.submit(self._run, spec, plan, runner or self.runner)

    @staticmethod
    def reports(attempts: Mapping[Key, Future[Report]]) -> dict[Key, Report]:
        """Wait for all attempts and return their reports."""
        return {key: attempt.result() for key, attempt in attempts.items()}

    def _run(self, spec: Mapping[str, Any], plan: Sequence[Stage] | None, runner: Runner) -> Report:
        wanted = a_spec(**spec)
        executor = Executor(
            runner=runner,
            plans=self._plans if plan is None else {wanted.plan: plan},
            packages=PACKAGE_MANAGERS,
            artifacts=FakeSpool(),
            artifacts_root="artifacts",
            worker="worker-1",
        )
        task_id = str(uuid.uuid4())
        with self._slots.one(seconds=SECONDS), self._work.attempt(task_id, 1) as folder:
            order = Order(task_id=task_id, attempt=1, spec=wanted, work_folder=folder)
            return executor.execute(order, stop=Stop(SECONDS), show=lambda stages: None)
