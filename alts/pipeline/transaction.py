"""Installation and removal with the package manager, and the plain reason if one fails."""

from __future__ import annotations

from collections.abc import Sequence

from alts.checks.state.snapshot import Snapshot
from alts.core.command import Completed
from alts.package_managers.base import Candidate, Operation
from alts.pipeline.context import StageContext
from alts.pipeline.diagnosis.disk import full_disk
from alts.pipeline.stages.snapshot import BEFORE
from alts.shared.models.report import Finding, Kind
from alts.shared.models.task_spec import TaskSpec


def wanted(spec: TaskSpec, candidates: Sequence[Candidate]) -> Candidate | None:
    """Return the candidate that the task asks for: the version it names, else the package manager's first choice."""
    return next((candidate for candidate in candidates if spec.asks_for(candidate.version)), None)


def install_by(
    context: StageContext, installing: Operation[tuple[Finding, ...]], candidate: Candidate
) -> tuple[Finding, ...]:
    """Install, and check that the machine has `candidate` afterwards.

    Records the installed package in the observations. Raises what StageContext.run and installed raise.
    """
    spec = context.spec
    done = context.run(installing.argv)
    findings = installing.judge(done)
    if findings:
        return (
            _ruined(context, done, Kind.INSTALL_FAILED)
            or full_disk(context, done, findings)
            or _in_plain_words(context, done, findings)
        )
    installed = context.installed()
    if installed is None:
        if others := _others(context):
            return (
                Finding(
                    kind=Kind.WRONG_PACKAGE_INSTALLED,
                    message=f"{spec.package_name} was requested, but {', '.join(others)} was installed",
                    evidence=done.tail(1),
                ),
            )
        return (
            Finding(
                kind=Kind.INSTALL_FAILED,
                message=f"{spec.package_name} is not installed although the installation reported success",
                evidence=done.tail(1),
            ),
        )
    # The first package installed is the one under test; the plan "full" installs others later.
    context.seen.package = context.seen.package or installed
    if installed.version != candidate.version:
        return (
            Finding(
                kind=Kind.WRONG_PACKAGE_INSTALLED,
                message=f"{spec.package_name} {candidate.version} was requested, but {installed.version} is installed",
                evidence=f"{installed.name} {installed.version} {installed.architecture}",
            ),
        )
    return ()


def _others(context: StageContext) -> list[str]:
    """Return the packages that were not there before the installation, for example "hello 2.10-3"."""
    before = context.seen.snapshots.get(BEFORE, Snapshot()).packages
    now = context.ask(context.packages.installed_packages())
    return [f"{name} {version}" for name, version in sorted(now.items()) if name not in before]


def remove_by(context: StageContext, removing: Operation[tuple[Finding, ...]]) -> tuple[Finding, ...]:
    """Remove, and check that the package is gone. Raises what StageContext.run and installed raise."""
    return removal_findings(context, removing, context.perform(removing))


def removal_findings(
    context: StageContext, removing: Operation[tuple[Finding, ...]], done: Completed
) -> tuple[Finding, ...]:
    """Judge the command of a removal, and check that the package is gone. Raises what remove_by raises."""
    spec = context.spec
    if findings := removing.judge(done):
        return _ruined(context, done, Kind.REMOVAL_FAILED) or full_disk(context, done, findings) or findings
    left = context.installed()
    if left is None:
        return ()
    return (
        Finding(
            kind=Kind.REMOVAL_FAILED,
            message=f"{spec.package_name} is still installed although the removal reported success",
            evidence=f"{left.name} {left.version} {left.architecture}",
        ),
    )


def purge_by(context: StageContext, purging: Operation[tuple[Finding, ...]]) -> tuple[Finding, ...]:
    """Purge the files that a removal keeps. Raises what StageContext.run raises."""
    done = context.perform(purging)
    findings = purging.judge(done)
    if not findings:
        return ()
    return _ruined(context, done, Kind.REMOVAL_FAILED) or full_disk(context, done, findings) or findings


def _ruined(context: StageContext, failed: Completed, killed: Kind) -> tuple[Finding, ...]:
    """Return one finding for a command that failed for a limit of the machine or was killed there, else none.

    It replaces all findings that follow from it. `killed`: its kind if a process in the machine killed the package
    manager.
    """
    ruined = context.what_ruined(failed)
    if ruined is None:
        return ()
    kind = killed if ruined.kind in (None, Kind.PROCESS_LEFT_RUNNING) else ruined.kind
    return (Finding(kind=kind, message=f"{context.spec.package_name}: {ruined}", evidence=ruined.evidence),)


_ABOUT_OTHERS = (Kind.DEPENDENCY_UNMET, Kind.PACKAGE_CONFLICT)


def _in_plain_words(context: StageContext, done: Completed, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Replace findings about other packages by ones that show the chain from the package to them."""
    if not any(finding.kind in _ABOUT_OTHERS for finding in findings):
        return findings
    queries = context.packages.why(context.spec, done)
    explained = queries.read([context.run(argv, question=True).output for argv in queries.argvs])
    if not explained:
        return findings
    return (*(finding for finding in findings if finding.kind not in _ABOUT_OTHERS), *explained)
