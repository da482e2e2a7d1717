"""Install the package as its user would."""

from __future__ import annotations

from alts.packages.base import Candidate
from alts.shared.report import Finding, Kind
from alts.shared.spec import TaskSpec
from alts.stages.base import StageAnswer, StageContext


def install(context: StageContext) -> StageAnswer:
    """Install the wanted version, else the candidate, and see that it is what the machine has afterwards."""
    spec, packages = context.spec, context.packages
    asked = context.run(packages.candidates_argv(spec))
    if not asked.ok:
        finding = Finding(
            kind=Kind.INTERNAL, message="the package lists of the machine cannot be read", evidence=asked.tail(1)
        )
        return StageAnswer((finding,))
    candidates = packages.read_candidates(asked.output)
    candidate = _wanted(spec, candidates)
    if candidate is None:
        return StageAnswer((_unavailable(spec, candidates),))
    done = context.run(packages.install_argv(spec, candidate))
    findings = packages.install_findings(spec, done)
    if findings:
        return StageAnswer(findings)
    installed = context.installed()
    if installed is None:
        finding = Finding(
            kind=Kind.INSTALL_FAILED,
            message=f"{spec.package_name} is not installed although the installation ended well",
            evidence=done.tail(1),
        )
        return StageAnswer((finding,))
    context.seen.package, context.seen.origin = installed, candidate.origin
    if installed.version != candidate.version:
        finding = Finding(
            kind=Kind.WRONG_PACKAGE_INSTALLED,
            message=f"{spec.package_name} {candidate.version} was asked for, {installed.version} is installed",
            evidence=f"{installed.name} {installed.version} {installed.architecture}",
        )
        return StageAnswer((finding,))
    return StageAnswer()


def _wanted(spec: TaskSpec, candidates: tuple[Candidate, ...]) -> Candidate | None:
    if spec.package_version is None:
        return next(iter(candidates), None)
    return next((candidate for candidate in candidates if candidate.version == spec.package_version), None)


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
