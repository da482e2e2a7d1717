"""Attempts on real machines with a fault between two stages or in the middle of a command.

One run without a fault keeps a copy of its machine before every stage. A case starts from such a copy on a machine of
its own, so it skips the stages before its fault.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker

from alts.core.command import Completed
from alts.core.instance import Instance
from alts.core.output import OutputSink
from alts.core.stop import Stop
from alts.pipeline.context import StageContext
from alts.pipeline.observations import Observations
from alts.pipeline.plans import PLANS
from alts.pipeline.stage import Stage, StageAnswer
from alts.shared.models.report import Kind, Report
from tests.support.lab import Lab
from tests.support.leftovers import THIS_RUN
from tests.support.plain_runner import plain_runner

PLAN = "full"
RESUMED = "resumed"
"""The stage that stands for all stages before the fault."""
RESUME_SECONDS = 600.0

Strike = Callable[[Instance], None]
"""Harms a machine."""


@dataclass(frozen=True)
class Incident:
    """A fault and its moment."""

    stage: str
    strike: Strike
    at: str = ""
    """The stage's output that triggers the fault, e.g. "Unpacking"; empty for the stage's beginning."""


@dataclass(frozen=True)
class Checkpoint:
    """A machine before a stage, and the results of the earlier stages."""

    image: str
    seen: Observations


@dataclass(frozen=True)
class Course:
    """A run without a fault: its report, and its checkpoints by stage name."""

    spec: Mapping[str, Any]
    report: Future[Report]
    checkpoints: dict[str, Checkpoint] = field(default_factory=dict)
    """Complete when the report is set."""


class FaultLab(Lab):
    """A lab with real machines for whole runs, and plain ones for runs that start from a checkpoint."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        super().__init__(folder, **changes)
        self._plain = plain_runner(self._config, worker=self._work.identity, folder=self._work.shared)

    def close(self) -> None:
        self._plain.close()
        super().close()

    def course(self, spec: Mapping[str, Any], *, ready: Strike) -> Course:
        """Start a run without a fault. `ready` prepares its machine before the first stage."""
        checkpoints: dict[str, Checkpoint] = {}
        plan = _prepared([_recorded(stage, checkpoints) for stage in PLANS[PLAN]], ready)
        return Course(spec, self.submit({"plan": PLAN, **spec}, plan=plan), checkpoints)

    def whole(self, spec: Mapping[str, Any], *, ready: Strike, incident: Incident) -> Future[Report]:
        """Run an attempt from the beginning, with the incident."""
        plan = _prepared([_with_incident(stage, incident) for stage in PLANS[PLAN]], ready)
        return self.submit({"plan": PLAN, **spec}, plan=plan)

    def rest(
        self,
        course: Course,
        stage: str,
        *,
        again: Strike,
        incident: Incident | None = None,
        package: str = "",
        stages: int | None = None,
    ) -> Future[Report]:
        """Run the course from before that stage, with the incident.

        `again` prepares everything that an image does not keep. `package` replaces the course's package. `stages` is
        the number of stages to run.
        """
        checkpoint = course.checkpoints[stage]
        names = [one.name for one in PLANS[PLAN]]
        left = PLANS[PLAN][names.index(stage) :][:stages]
        plan = [_resuming(checkpoint, again), *(_with_incident(one, incident) for one in left)]
        spec = {"plan": PLAN, **course.spec, **({"package_name": package} if package else {})}
        return self.submit(spec, plan=plan, runner=dataclasses.replace(self._plain, image=checkpoint.image))


@contextmanager
def keeping(courses: Mapping[str, Course]) -> Iterator[None]:
    """Remove the courses' images at the end."""
    try:
        yield
    finally:
        with closing(docker.from_env()) as client:
            for course in courses.values():
                for checkpoint in course.checkpoints.values():
                    client.images.remove(checkpoint.image, force=True)


def _recorded(stage: Stage, checkpoints: dict[str, Checkpoint]) -> Stage:
    def action(context: StageContext) -> StageAnswer:
        seen = dataclasses.replace(context.seen, snapshots=dict(context.seen.snapshots))
        checkpoints[stage.name] = Checkpoint(_image_of(context.instance), seen)
        return stage.action(context)

    return dataclasses.replace(stage, action=action)


def _image_of(instance: Instance) -> str:
    with closing(docker.from_env()) as client:
        return str(client.containers.get(instance.name).commit(conf={"Labels": dict(THIS_RUN)}).id)


def _resuming(checkpoint: Checkpoint, again: Strike) -> Stage:
    def action(context: StageContext) -> StageAnswer:
        again(context.instance)
        seen = dataclasses.replace(checkpoint.seen, snapshots=dict(checkpoint.seen.snapshots))
        vars(context.seen).update(vars(seen))
        return StageAnswer()

    return Stage(RESUMED, action, timeout=RESUME_SECONDS, overrun=Kind.INTERNAL, failing=Kind.INSTALL_FAILED)


def _prepared(plan: Sequence[Stage], ready: Strike) -> Sequence[Stage]:
    first, *others = plan
    return (_after(ready, first), *others)


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
    """A machine that suffers the incident when a command prints the expected text."""

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
        repeatable: bool = False,
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

        return self._instance.run(argv, stop=stop, env=env, sink=listening, repeatable=repeatable)

    def pull(self, path: str, *, stop: Stop, limit: int) -> bytes:
        return self._instance.pull(path, stop=stop, limit=limit)

    def alive(self) -> bool:
        return self._instance.alive()

    def check(self) -> None:
        self._instance.check()

    def close(self) -> None:
        self._instance.close()
