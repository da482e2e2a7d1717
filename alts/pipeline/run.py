"""Run a plan on a machine: order, deadline, skip, cancel, verdict. Knows no tool."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from alts.core.instance import Instance, MachineRuined
from alts.core.output import OutputSink
from alts.core.stop import Stop, Stopped, StopReason
from alts.package_managers.base import PackageManager
from alts.pipeline.context import Observations, PackageManagerBroken, Stage, StageAnswer, StageContext, StageLog
from alts.pipeline.diagnosis.disk import disk_full
from alts.shared.errors import (
    DiskFull,
    ImageUnavailable,
    InfrastructureError,
    InstanceLost,
    ProvisionFailed,
    RepositoryUnreachable,
)
from alts.shared.models.report import Finding, Kind, Outcome, Severity, StageResult, outcome_of_findings
from alts.shared.models.task_spec import TaskSpec

_KINDS: tuple[tuple[type[InfrastructureError], Kind], ...] = (
    (DiskFull, Kind.DISK_FULL),
    (ImageUnavailable, Kind.IMAGE_UNAVAILABLE),
    (InstanceLost, Kind.INSTANCE_LOST),
    (ProvisionFailed, Kind.PROVISION_FAILED),
    (RepositoryUnreachable, Kind.REPOSITORY_UNREACHABLE),
)


_REMOVING = ("remove", "purge", "leftovers")
_USED_UP = (Kind.TIMEOUT, Kind.PROCESS_LIMIT_EXCEEDED, Kind.DISK_LIMIT_EXCEEDED)


@dataclass(frozen=True)
class Run:
    """What a plan is run with."""

    spec: TaskSpec
    packages: PackageManager
    stop: Stop
    provide: Callable[[Stop, OutputSink], Instance]
    """Gives the machine; called once, in the first stage's time and log."""
    keep_log: Callable[[str, str], str | None]
    """Takes a stage's name and its log, says where it is kept now."""
    show: Callable[[tuple[StageResult, ...]], None]
    """Told of the stages so far whenever one has ended."""
    clock: Callable[[], float] = time.monotonic


@dataclass
class PlanResult:
    """What a run of a plan has yielded."""

    stages: list[StageResult] = field(default_factory=list)
    seen: Observations = field(default_factory=Observations)
    retryable: bool = False
    """Where a stage ERRORED: whether another attempt may end otherwise."""


@dataclass(frozen=True)
class _Ending:
    outcome: Outcome
    findings: tuple[Finding, ...] = ()
    reason: str = ""
    retryable: bool = False


def run_plan(plan: Sequence[Stage], run: Run) -> PlanResult:
    """Every stage of the plan has a result afterwards, be it SKIPPED.

    Raises Stopped where the attempt is not ours to finish any more (lease lost, draining): there is no verdict then.
    """
    result = PlanResult()
    machine = _Machine(run.provide)
    for stage in plan:
        if skipped := _why_skipped(stage, result.stages):
            result.stages.append(StageResult(stage=stage.name, outcome=Outcome.SKIPPED, reason=skipped))
            continue
        _run_stage(stage, run, machine, result)
        run.show(tuple(result.stages))
    return result


class _Machine:
    """The instance, there from the first stage on."""

    def __init__(self, provide: Callable[[Stop, OutputSink], Instance]) -> None:
        self._provide = provide
        self._instance: Instance | None = None

    def get(self, stop: Stop, log: OutputSink) -> Instance:
        if self._instance is None:
            self._instance = self._provide(stop, log)
        return self._instance

    def check(self) -> None:
        """Raises InstanceLost or MachineRuined where it is not there any more."""
        if self._instance is not None:
            self._instance.check()


def _why_skipped(stage: Stage, done: Sequence[StageResult]) -> str:
    for result in done:
        if result.outcome in (Outcome.ERRORED, Outcome.CANCELLED):
            return f"{result.stage} was {result.outcome}"
        if result.stage in stage.needs and result.outcome is Outcome.SKIPPED:
            return f"{result.stage} was skipped: {result.reason}"
        if result.stage in stage.needs and result.outcome is not Outcome.PASSED:
            return f"{result.stage} has not passed"
        if result.stage in stage.unless_failed and result.outcome is Outcome.FAILED:
            return f"{result.stage} has failed"
        # What hangs once leaves the machine in a state that nobody asked for.
        if any(finding.kind in _USED_UP for finding in result.findings):
            return f"{result.stage} did not come to an end"
    return ""


def _run_stage(stage: Stage, run: Run, machine: _Machine, result: PlanResult) -> None:
    log = StageLog()
    started = run.clock()
    context: StageContext | None = None
    try:
        stop = run.stop.within(stage.timeout)
        try:
            stop.check()
            instance = machine.get(stop, log.write)
            context = StageContext(run.spec, instance, run.packages, stop, log, result.seen)
            ending = _judge(_answer(stage, context), context, machine)
        except Stopped as stopped:
            ending = _stopped(stage, stopped.reason, context, machine, run)
    except MachineRuined as reached:
        ending = _used_up(stage, reached, result.seen)
    except InfrastructureError as error:
        ending = _errored(error)
    except OSError as error:
        # The worker's own disk or memory: nothing of it says anything about the package.
        ending = _errored(InfrastructureError(f"the worker has trouble of its own: {error}"))
    log.line(f"[{ending.outcome}: {ending.reason}]" if ending.reason else f"[{ending.outcome}]")
    result.retryable = result.retryable or ending.retryable
    result.stages.append(
        StageResult(
            stage=stage.name,
            outcome=ending.outcome,
            seconds=round(run.clock() - started, 3),
            exit_code=context.commands[-1].exit_code if context and context.commands else None,
            findings=ending.findings,
            reason=ending.reason,
            log=run.keep_log(stage.name, log.text()),
        )
    )


def _answer(stage: Stage, context: StageContext) -> StageAnswer:
    try:
        return stage.action(context)
    except PackageManagerBroken as broken:
        return StageAnswer((_broken(stage, broken),))


def _judge(answer: StageAnswer, context: StageContext, machine: _Machine) -> _Ending:
    """Is the machine alive, and has it room? Was it the mirror? Only then the package."""
    if answer.skipped:
        return _Ending(Outcome.SKIPPED, reason=answer.skipped)
    outcome = outcome_of_findings(answer.findings)
    if outcome is not Outcome.PASSED:
        machine.check()
    findings = answer.findings
    if outcome is Outcome.FAILED and not _is_used_up(findings) and (full := disk_full(context)):
        # Whatever else was found may well come of that.
        outcome, findings = Outcome.ERRORED, full
    return _Ending(outcome, findings, _reason(findings), retryable=outcome is Outcome.ERRORED)


def _is_used_up(findings: Sequence[Finding]) -> bool:
    """Whether the package has taken what a machine may have: then it is no wonder that there is no more."""
    return any(finding.kind is Kind.DISK_LIMIT_EXCEEDED for finding in findings)


def _broken(stage: Stage, broken: PackageManagerBroken) -> Finding:
    return Finding(kind=_failing(stage), message=f"{broken} after {stage.name}", evidence=broken.done.tail(1))


def _failing(stage: Stage) -> Kind:
    """What it is called when the stage ends badly for no other reason."""
    return Kind.REMOVAL_FAILED if stage.name in _REMOVING else Kind.INSTALL_FAILED


def _stopped(stage: Stage, reason: StopReason, context: StageContext | None, machine: _Machine, run: Run) -> _Ending:
    if reason is StopReason.CANCELLED:
        return _Ending(Outcome.CANCELLED, reason="cancelled on request")
    if reason is not StopReason.DEADLINE:
        raise Stopped(reason)
    machine.check()
    if run.stop.reason is StopReason.DEADLINE:
        # Which stage happens to be last when the whole time is up says nothing about the package.
        return _errored(InfrastructureError("the time of the whole attempt was up before the plan came to its end"))
    finding = Finding(
        kind=_overrun(stage, context), message=f"{stage.name} did not end in its time of {stage.timeout:.0f} s"
    )
    outcome = outcome_of_findings((finding,))
    return _Ending(outcome, (finding,), finding.message, retryable=outcome is Outcome.ERRORED)


def _used_up(stage: Stage, reached: MachineRuined, seen: Observations) -> _Ending:
    """Before the package came, nothing but ours and the distribution's has run in the machine."""
    if seen.candidate is None:
        ours = DiskFull if reached.kind is Kind.DISK_LIMIT_EXCEEDED else InstanceLost
        return _errored(ours(f"before the package came: {reached}", details=reached.evidence))
    kind = reached.kind or _failing(stage)
    finding = Finding(kind=kind, message=f"{stage.name}: {reached}", evidence=reached.evidence)
    return _Ending(Outcome.FAILED, (finding,), finding.message)


def _overrun(stage: Stage, context: StageContext | None) -> Kind:
    """A mirror that keeps everybody waiting is not the package's fault: that begins when its own work does."""
    last = context.commands[-1] if context and context.commands else None
    if context is None or last is None or last.stopped is None or stage.overrun is not Kind.TIMEOUT:
        return stage.overrun
    return context.packages.hangs_at(last.output, seconds=last.seconds)


def _errored(error: InfrastructureError) -> _Ending:
    kind = next((kind for category, kind in _KINDS if isinstance(error, category)), Kind.INTERNAL)
    finding = Finding(kind=kind, message=str(error), evidence=error.details)
    return _Ending(Outcome.ERRORED, (finding,), str(error), retryable=error.retryable)


def _reason(findings: Sequence[Finding]) -> str:
    """One plain line: what is ours outweighs what is the package's."""
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    errors.sort(key=lambda finding: not finding.kind.ours)
    return errors[0].message if errors else ""
