"""Install the package as its user would."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from alts.checks.leftovers.sysusers import declarations, declared_names
from alts.package_managers.base import Candidate
from alts.pipeline.context import StageContext
from alts.pipeline.diagnosis.missing_tools import tools_gone
from alts.pipeline.package_lists import fetch_all, may_be_outdated
from alts.pipeline.stage import StageAnswer
from alts.pipeline.stages.snapshot import BEFORE, INSTALLED, take
from alts.pipeline.transaction import install_by, wanted
from alts.shared.models.report import Finding, Kind, Severity
from alts.shared.models.task_spec import TaskSpec


def install(context: StageContext) -> StageAnswer:
    """Install the version that the task names, else the package manager's first choice.

    Records the candidates, the closure, the declared accounts and a snapshot. If lists that came with the image may be
    why it failed, fetches all lists and tries again.
    """
    answer = _install(context)
    if not may_be_outdated(context, answer.findings):
        return answer
    context.log.line(f"[{answer.findings[0].message}: the image's lists may be too old, so all are fetched again]")
    if findings := fetch_all(context):
        return StageAnswer(findings)
    return _install(context)


def _install(context: StageContext) -> StageAnswer:
    spec, packages, seen = context.spec, context.packages, context.seen
    query = packages.candidates(spec)
    asked = context.run(query.argv, repeatable=True)
    if not asked.ok:
        finding = Finding(
            kind=Kind.INTERNAL, message="the package lists of the machine cannot be read", evidence=asked.tail(1)
        )
        return StageAnswer((finding,))
    seen.candidates = query.read(asked.output)
    candidate = wanted(spec, seen.candidates)
    if candidate is None:
        return StageAnswer((_unavailable(spec, seen.candidates),))
    seen.candidate = candidate
    before = seen.snapshots[BEFORE].packages
    there = before.get(spec.package_name) == candidate.version
    # The image's package is the distribution's. If the task's repository has the same version, it is installed over it.
    seen.already_installed = there and packages.from_distribution(spec, candidate)
    installing = packages.reinstall if there and not seen.already_installed else packages.install
    if findings := install_by(context, installing(spec, candidate), candidate):
        return StageAnswer(findings)
    if findings := tools_gone(context):
        return StageAnswer(findings)
    after = take(context, INSTALLED).packages
    seen.declared = _declared(context)
    seen.closure = tuple(f"{name} {version}" for name, version in sorted(after.items()) if before.get(name) != version)
    return StageAnswer((*_passed_over(context, candidate), *_displaced(spec, before, after)))


def _declared(context: StageContext) -> frozenset[str]:
    """Return the users and groups that the new files declare. The removal deletes these files, so read them now."""
    before, after = (context.seen.snapshots[moment].files for moment in (BEFORE, INSTALLED))
    fresh = declarations(path for path, state in after.items() if state.type == "f" and state != before.get(path))
    return frozenset(declared_names(context.run(("cat", "--", *fresh), question=True).output)) if fresh else frozenset()


def _passed_over(context: StageContext, candidate: Candidate) -> Iterator[Finding]:
    """Warn when the distribution's version was preferred to the one in the task's repository."""
    spec, packages = context.spec, context.packages
    brought = [one for one in context.seen.candidates if one.origin and not packages.from_distribution(spec, one)]
    if spec.package_version is None and brought and packages.from_distribution(spec, candidate):
        yield Finding(
            kind=Kind.WRONG_PACKAGE_INSTALLED,
            message=f"{spec.package_name} {candidate.version} of the distribution was tested, not "
            f"{brought[0].version} of the task's repository: set package_version to test that",
            severity=Severity.WARNING,
            evidence=brought[0].origin,
        )


def _displaced(spec: TaskSpec, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Finding]:
    """Report removed packages as INFO: a package may replace an alternative (Debian Policy 7.6.2)."""
    for name in sorted(before.keys() - after.keys()):
        yield Finding(
            kind=Kind.PACKAGE_CONFLICT,
            message=f"installing {spec.package_name} removed {name}",
            severity=Severity.INFO,
            evidence=f"{name} {before[name]}",
        )


def _unavailable(spec: TaskSpec, candidates: tuple[Candidate, ...]) -> Finding:
    if not candidates:
        return Finding(
            kind=Kind.PACKAGE_NOT_FOUND,
            message=f"no repository of this machine has a package named {spec.package_name}",
        )
    versions = ", ".join(candidate.version for candidate in candidates)
    return Finding(
        kind=Kind.VERSION_NOT_AVAILABLE,
        message=f"no repository of this machine has {spec.package_name} {spec.package_version}",
        evidence=f"available: {versions}",
    )
