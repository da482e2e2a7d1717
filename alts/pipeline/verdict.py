"""The verdict on a stage, from its findings or from the exception that ended it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alts.core.command import Completed
from alts.core.instance import MachineRuined
from alts.package_managers.base import PackageManager
from alts.pipeline.stage import Stage
from alts.shared.errors import (
    DiskFull,
    ImageUnavailable,
    InfrastructureError,
    InstanceLost,
    ProvisionFailed,
    RepositoryUnreachable,
)
from alts.shared.models.report import Finding, Kind, Outcome, Severity, outcome_of_findings

_KINDS: tuple[tuple[type[InfrastructureError], Kind], ...] = (
    (DiskFull, Kind.DISK_FULL),
    (ImageUnavailable, Kind.IMAGE_UNAVAILABLE),
    (InstanceLost, Kind.INSTANCE_LOST),
    (ProvisionFailed, Kind.PROVISION_FAILED),
    (RepositoryUnreachable, Kind.REPOSITORY_UNREACHABLE),
)


@dataclass(frozen=True)
class StageVerdict:
    """The outcome of one stage, with its evidence."""

    outcome: Outcome
    findings: tuple[Finding, ...] = ()
    reason: str = ""
    """One plain line; empty if the stage passed."""
    retryable: bool = False
    """Another attempt may end otherwise. Only an ERRORED stage is retryable."""


CANCELLED = StageVerdict(Outcome.CANCELLED, reason="cancelled on request")


def skipped(reason: str) -> StageVerdict:
    """Return the verdict on a stage that had nothing to do."""
    return StageVerdict(Outcome.SKIPPED, reason=reason)


def of_findings(findings: Sequence[Finding]) -> StageVerdict:
    """Return the verdict on a stage that ran to its end. Its reason names a fault of ours first."""
    outcome = outcome_of_findings(findings)
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    errors.sort(key=lambda finding: not finding.kind.ours)
    reason = errors[0].message if errors else ""
    return StageVerdict(outcome, tuple(findings), reason, retryable=outcome is Outcome.ERRORED)


def of_overrun(stage: Stage, last: Completed | None, packages: PackageManager) -> StageVerdict:
    """Return the verdict on a stage that exceeded its timeout.

    `last`: the last command by which the stage is judged. If it was the one that hung, its output tells how far the
    package manager had come: a mirror that does not answer is not the package's fault.
    """
    kind = stage.overrun
    if kind is Kind.TIMEOUT and last is not None and last.stopped is not None:
        kind = packages.hangs_at(last.output, seconds=last.seconds)
    message = f"{stage.name} did not finish within {stage.timeout:.0f} s"
    return of_findings((Finding(kind=kind, message=message),))


def of_trouble(
    stage: Stage, trouble: MachineRuined | InfrastructureError | OSError, *, package_came: bool
) -> StageVerdict:
    """Return the verdict on a stage that an exception ended.

    `package_came`: the installation had begun. Until then only our programs and the distribution's have run on the
    machine, so a ruined machine is not the package's doing. An OSError is about the worker's own disk or memory.
    """
    match trouble:
        case MachineRuined() if package_came:
            kind = trouble.kind or stage.failing
            message = f"{stage.name}: {trouble}"
            return of_findings((Finding(kind=kind, message=message, evidence=trouble.evidence),))
        case MachineRuined():
            category = DiskFull if trouble.kind is Kind.DISK_LIMIT_EXCEEDED else InstanceLost
            return _errored(category(f"before the package was installed: {trouble}", details=trouble.evidence))
        case InfrastructureError():
            return _errored(trouble)
        case OSError():
            return _errored(InfrastructureError(f"error on the worker: {trouble}"))


def _errored(error: InfrastructureError) -> StageVerdict:
    kind = next((kind for category, kind in _KINDS if isinstance(error, category)), Kind.INTERNAL)
    finding = Finding(kind=kind, message=str(error), evidence=error.details)
    return StageVerdict(Outcome.ERRORED, (finding,), str(error), retryable=error.retryable)
