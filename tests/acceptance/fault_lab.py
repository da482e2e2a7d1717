"""Attempts on real machines that something happens to: between two stages, or in the midst of a command."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from alts.command import Completed, OutputSink
from alts.execution import Executor
from alts.packages import PACKAGE_MANAGERS
from alts.plan import PLANS
from alts.runners.base import Instance, Order
from alts.runners.docker import docker_runner
from alts.shared.report import Report
from alts.stages.base import Stage, StageAnswer, StageContext
from alts.stop import Stop
from alts.work_folder import WorkFolder
from tests.acceptance.embedded import ROOT
from tests.builders import a_config, a_spec
from tests.fakes import FakeStore

AT_ONCE = 4
"""Machines: as many as the embedded service has."""
SECONDS = 1800.0  # of one attempt on a busy host

Strike = Callable[[Instance], None]
"""Does the harm to a machine."""


@dataclass(frozen=True)
class Incident:
    """What happens, and when."""

    stage: str
    strike: Strike
    at: str = ""
    """The stage's output that it waits for, such as "Unpacking"; empty for the stage's beginning."""


class FaultLab:
    """Runs attempts, several at once, for as long as the `with` lasts."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self._work = WorkFolder(folder / "work")
        self._work.reset()
        config = a_config(cache_folder=str(ROOT / ".alts/cache"), **changes)
        self._runner = docker_runner(config, worker=self._work.identity, folder=self._work.shared)
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="attempt")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._runner.close()
        self._work.close()

    def submit(
        self, spec: Mapping[str, Any], *, ready: Strike = lambda instance: None, incident: Incident | None = None
    ) -> Future[Report]:
        """The report of an attempt in the plan "full"; `ready` prepares its machine before the first stage's work."""
        return self._pool.submit(self._run, {"plan": "full", **spec}, ready, incident)

    def _run(self, spec: Mapping[str, Any], ready: Strike, incident: Incident | None) -> Report:
        plan = [_with_incident(stage, incident) for stage in PLANS["full"]]
        plan[0] = _after(ready, plan[0])
        executor = Executor(
            runner=self._runner,
            plans={"full": tuple(plan)},
            packages=PACKAGE_MANAGERS,
            artifacts=FakeStore(),
            artifacts_root="artifacts",
            worker="worker-1",
        )
        task_id = str(uuid.uuid4())
        with self._work.attempt(task_id, 1) as folder:
            order = Order(task_id=task_id, attempt=1, spec=a_spec(**spec), work_folder=folder)
            return executor.execute(order, stop=Stop(SECONDS), show=lambda stages: None)


def _with_incident(stage: Stage, incident: Incident | None) -> Stage:
    if incident is None or incident.stage != stage.name:
        return stage
    if not incident.at:
        return _after(incident.strike, stage)

    def action(context: StageContext) -> StageAnswer:
        instance = _Stricken(context.instance, incident)
        answer = stage.action(dataclasses.replace(context, instance=instance))
        assert instance.struck, f"{stage.name} never said {incident.at!r}"
        return answer

    return dataclasses.replace(stage, action=action)


def _after(strike: Strike, stage: Stage) -> Stage:
    def action(context: StageContext) -> StageAnswer:
        strike(context.instance)
        return stage.action(context)

    return dataclasses.replace(stage, action=action)


class _Stricken:
    """A machine that something happens to as soon as a command says a certain thing."""

    def __init__(self, instance: Instance, incident: Incident) -> None:
        self.name = instance.name
        self.struck = False
        self._instance = instance
        self._incident = incident

    def run(
        self,
        argv: Sequence[str],
        *,
        stop: Stop,
        env: Mapping[str, str] | None = None,
        sink: OutputSink | None = None,
    ) -> Completed:
        heard = ""

        def listening(text: str) -> None:
            nonlocal heard
            heard += text
            if sink is not None:
                sink(text)
            if self._incident.at in heard and not self.struck:
                self.struck = True
                self._incident.strike(self._instance)

        return self._instance.run(argv, stop=stop, env=env, sink=listening)

    def pull(self, path: str, *, stop: Stop, limit: int) -> bytes:
        return self._instance.pull(path, stop=stop, limit=limit)

    def alive(self) -> bool:
        return self._instance.alive()

    def check(self) -> None:
        self._instance.check()
