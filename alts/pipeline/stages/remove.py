"""Remove the package as its user would."""

from __future__ import annotations

from alts.pipeline.context import StageContext
from alts.pipeline.stage import StageAnswer
from alts.pipeline.stages.snapshot import REMOVED, take
from alts.pipeline.transaction import remove_by


def remove(context: StageContext) -> StageAnswer:
    """Remove the package, check that it is gone, and record a snapshot.

    Skipped without removing anything if the system needs the package.
    """
    spec, packages = context.spec, context.packages
    simulation = packages.protected(spec)
    if protected := simulation.judge(context.run(simulation.argv, question=True, reads_only=True)):
        return StageAnswer(skipped=protected)
    findings = remove_by(context, packages.remove(spec))
    take(context, REMOVED)
    return StageAnswer(findings)
