"""Remove the package as its user would."""

from __future__ import annotations

from alts.shared.report import Finding, Kind
from alts.stages.base import StageAnswer, StageContext


def remove(context: StageContext) -> StageAnswer:
    """Remove the package and see that it is gone; skipped where the system cannot do without it."""
    spec, packages = context.spec, context.packages
    done = context.run(packages.remove_argv(spec))
    if refused := packages.removal_refused(done):
        return StageAnswer(skipped=refused)
    if findings := packages.remove_findings(spec, done):
        return StageAnswer(findings)
    left = context.installed()
    if left is not None:
        finding = Finding(
            kind=Kind.REMOVAL_FAILED,
            message=f"{spec.package_name} is still installed although the removal ended well",
            evidence=f"{left.name} {left.version} {left.architecture}",
        )
        return StageAnswer((finding,))
    return StageAnswer()
