"""Take away what a removal leaves on purpose, such as conffiles."""

from __future__ import annotations

from alts.pipeline.context import StageContext
from alts.pipeline.stage import StageAnswer
from alts.pipeline.stages.snapshot import PURGED, take
from alts.pipeline.transaction import purge_by


def purge(context: StageContext) -> StageAnswer:
    """Purge the removed package; skipped where the package manager removes everything at once."""
    purging = context.packages.purge(context.spec)
    if purging is None:
        return StageAnswer(skipped="this package manager has nothing to purge: a removal takes everything")
    findings = purge_by(context, purging)
    take(context, PURGED)
    return StageAnswer(findings)
