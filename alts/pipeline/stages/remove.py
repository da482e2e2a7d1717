"""Remove the package as its user would."""

from __future__ import annotations

from alts.pipeline.context import StageContext
from alts.pipeline.stage import StageAnswer
from alts.pipeline.stages.snapshot import REMOVED, take
from alts.pipeline.transaction import removal_findings


def remove(context: StageContext) -> StageAnswer:
    """Remove the package, check that it is gone, and record a snapshot.

    Skipped if the system needs the package: the package manager refuses before it changes anything.
    """
    spec, packages = context.spec, context.packages
    removing = packages.remove(spec)
    done = context.perform(removing)
    if refused := packages.removal_refused(spec, done):
        return StageAnswer(skipped=refused)
    findings = removal_findings(context, removing, done)
    take(context, REMOVED)
    return StageAnswer(findings)
