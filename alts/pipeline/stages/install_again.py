"""Install the package on a machine that once had it."""

from __future__ import annotations

from alts.pipeline.context import StageContext
from alts.pipeline.stage import StageAnswer
from alts.pipeline.transaction import install_by


def install_again(context: StageContext) -> StageAnswer:
    """Install the candidate again. Leftovers of the removal and the purge must not make it fail."""
    candidate = context.seen.candidate
    if candidate is None:
        return StageAnswer(skipped="nothing was installed before")
    return StageAnswer(install_by(context, context.packages.install(context.spec, candidate), candidate))
