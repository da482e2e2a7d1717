"""Delete the files that a removal keeps on purpose, for example conffiles."""

from __future__ import annotations

from alts.pipeline.context import StageContext
from alts.pipeline.stage import StageAnswer
from alts.pipeline.stages.snapshot import PURGED, REMOVED, take
from alts.pipeline.transaction import purge_by


def purge(context: StageContext) -> StageAnswer:
    """Purge the removed package and record a snapshot. Skipped if a removal by this package manager keeps nothing.

    Runs no command if the removal has left nothing of this package to purge. The machine is as it was then.
    """
    name, moments = context.spec.package_name, context.seen.snapshots
    purging = context.packages.purge(context.spec)
    if purging is None:
        return StageAnswer(skipped="this package manager has no purge: a removal deletes everything")
    if name not in moments[REMOVED].unpurged:
        context.log.line(f"[nothing to purge: after the removal the package database has no record of {name}]")
        moments[PURGED] = moments[REMOVED]
        return StageAnswer()
    findings = purge_by(context, purging)
    take(context, PURGED)
    return StageAnswer(findings)
