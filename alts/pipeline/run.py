"""Run the stages of a plan on a machine: their order, their deadlines, and the machine's health before any blame."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from alts.core.command import Completed
from alts.core.instance import Instance, MachineRuined
from alts.core.output import OutputSink
from alts.core.stop import Stop, Stopped, StopReason
from alts.package_managers.base import PackageManager
from alts.pipeline.context import PackageManagerBroken, StageContext
from alts.pipeline.diagnosis.disk import disk_full
from alts.pipeline.observations import Observations
from alts.pipeline.stage import Stage, StageAnswer
from alts.pipeline.stage_log import StageLog
from alts.pipeline.timeline import Timeline
from alts.pipeline.verdict import CANCELLED, StageVerdict, of_findings, of_overrun, of_trouble, skipped
from alts.shared.errors import InfrastructureError
from alts.shared.models.report import Finding, Kind, Outcome, StageResult
from alts.shared.models.task_spec import TaskSpec

_USED_UP = (Kind.TIMEOUT, Kind.PROCESS_LIMIT_EXCEEDED, Kind.DISK_LIMIT_EXCEEDED)


@dataclass(frozen=True)
class Run:
    """The task of a run, and the functions that the caller provides for it."""

    spec: TaskSpec
    packages: PackageManager
    stop: Stop
    provide: Callable[[Stop, OutputSink], Instance]
    """Makes the machine. Called once: its time and its output are the first stage's."""
    keep_log: Callable[[str, str], str | None]
    """Stores the log of a stage, given the stage's name and the text. Returns the log's address."""
    show: Callable[[tuple[StageResult, ...]], None]
    """Called with the results so far when a stage has ended."""
    lists_fetched_at: Callable[[], datetime | None] = lambda: None
    """Called when the machine is there: when the lists were fetched that its image brings; None not to use them."""
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


@dataclass
class PlanResult:
    """The results of the stages, and what they observed."""

    stages: list[StageResult] = field(default_factory=list)
    seen: Observations = field(default_factory=Observations)
    retryable: bool = False
    """If a stage ERRORED: another attempt may end otherwise."""


def run_plan(plan: Sequence[Stage], run: Run) -> PlanResult:
    """Run the stages in order. The result has one entry per stage; a stage that did not run is SKIPPED.

    Raises Stopped if the attempt is no longer this worker's to finish (lease lost, draining).
    """
    result = PlanResult()
    machine = _Machine(run, result.seen)
    for stage in plan:
        if why := _why_skipped(stage, result.stages):
            result.stages.append(StageResult(stage=stage.name, outcome=Outcome.SKIPPED, reason=why))
            continue
        _run_stage(stage, run, machine, result)
        run.show(tuple(result.stages))
    return result


def _why_skipped(stage: Stage, done: Sequence[StageResult]) -> str:
    for result in done:
        if result.outcome in (Outcome.ERRORED, Outcome.CANCELLED):
            return f"the outcome of {result.stage} is {result.outcome}"
        if result.stage in stage.needs and result.outcome is Outcome.SKIPPED:
            return f"{result.stage} was skipped: {result.reason}"
        if result.stage in stage.needs and result.outcome is not Outcome.PASSED:
            return f"{result.stage} has not passed"
        if result.stage in stage.unless_failed and result.outcome is Outcome.FAILED:
            return f"{result.stage} has failed"
        # A command that was killed in the middle, or a machine with nothing to spare, leaves an undefined state.
        if any(finding.kind in _USED_UP for finding in result.findings):
            return f"{result.stage} did not finish"
    return ""


def _run_stage(stage: Stage, run: Run, machine: _Machine, result: PlanResult) -> None:
    running = _StageRun(stage, run, machine, result.seen)
    verdict = running.verdict()
    running.log.line(f"[{verdict.outcome}: {verdict.reason}]" if verdict.reason else f"[{verdict.outcome}]")
    result.retryable = result.retryable or verdict.retryable
    last = running.last_command
    result.stages.append(
        StageResult(
            stage=stage.name,
            outcome=verdict.outcome,
            seconds=round(running.timeline.seconds, 3),
            exit_code=last.exit_code if last else None,
            findings=verdict.findings,
            reason=verdict.reason,
            log=run.keep_log(stage.name, running.log.text()),
            steps=running.timeline.steps,
        )
    )


class _Machine:
    """The instance, made when the first stage asks for it."""

    def __init__(self, run: Run, seen: Observations) -> None:
        self._run = run
        self._seen = seen
        self._instance: Instance | None = None

    def get(self, stop: Stop, log: OutputSink, timeline: Timeline) -> Instance:
        if self._instance is None:
            with timeline.step("make the machine"):
                self._instance = self._run.provide(stop, log)
            self._seen.lists_fetched_at = self._run.lists_fetched_at()
        return self._instance

    def check(self) -> None:
        """Raises InstanceLost or MachineRuined if there was a machine and it is gone."""
        if self._instance is not None:
            self._instance.check()


class _StageRun:
    """One stage, from its start to its verdict."""

    def __init__(self, stage: Stage, run: Run, machine: _Machine, seen: Observations) -> None:
        self.log = StageLog()
        self.timeline = Timeline(run.clock)
        self._stage = stage
        self._run = run
        self._machine = machine
        self._seen = seen
        self._context: StageContext | None = None

    @property
    def last_command(self) -> Completed | None:
        """The last command by which the stage is judged."""
        return self._context.commands[-1] if self._context and self._context.commands else None

    def verdict(self) -> StageVerdict:
        """Run the stage and judge it. Raises Stopped if the attempt is no longer this worker's to finish."""
        try:
            return self._judged()
        except (MachineRuined, InfrastructureError, OSError) as trouble:
            return of_trouble(self._stage, trouble, package_came=self._seen.candidate is not None)

    def _judged(self) -> StageVerdict:
        try:
            context = self._start()
            return self._judge(self._answer(context), context)
        except Stopped as stopped:
            return self._stopped(stopped.reason)

    def _start(self) -> StageContext:
        run, stop = self._run, self._run.stop.within(self._stage.timeout)
        stop.check()
        instance = self._machine.get(stop, self.log.write, self.timeline)
        self._context = StageContext(
            run.spec, instance, run.packages, stop, self.log, self._seen, timeline=self.timeline, now=run.now
        )
        return self._context

    def _answer(self, context: StageContext) -> StageAnswer:
        try:
            return self._stage.action(context)
        except PackageManagerBroken as broken:
            message = f"{broken} after {self._stage.name}"
            finding = Finding(kind=self._stage.failing, message=message, evidence=broken.done.tail(1))
            return StageAnswer((finding,))

    def _judge(self, answer: StageAnswer, context: StageContext) -> StageVerdict:
        """Blame the package only if the machine is alive and its disk has room."""
        if answer.skipped:
            return skipped(answer.skipped)
        verdict = of_findings(answer.findings)
        if verdict.outcome is not Outcome.PASSED:
            self._machine.check()
        # A full disk explains all other findings, unless the package itself has filled it.
        filled_by_package = any(finding.kind is Kind.DISK_LIMIT_EXCEEDED for finding in answer.findings)
        if verdict.outcome is Outcome.FAILED and not filled_by_package and (full := disk_full(context)):
            return of_findings(full)
        return verdict

    def _stopped(self, reason: StopReason) -> StageVerdict:
        if reason is StopReason.CANCELLED:
            return CANCELLED
        if reason is not StopReason.DEADLINE:
            raise Stopped(reason)
        self._machine.check()
        if self._run.stop.reason is StopReason.DEADLINE:
            # The stage that happens to run when the whole attempt's time is up says nothing about the package.
            raise InfrastructureError("the attempt reached its time limit (task_timeout) before all stages had run")
        return of_overrun(self._stage, self.last_command, self._run.packages)
