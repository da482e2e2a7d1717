"""Install the package on a machine that once had it."""

from __future__ import annotations

from alts.pipeline.context import StageContext
from alts.pipeline.stage import StageAnswer
from alts.pipeline.transaction import install_by


def install_again(context: StageContext) -> StageAnswer:
    """What a removal and a purge have left must not be in the way."""
    candidate = context.seen.candidate
    if candidate is None:
        return StageAnswer(skipped="nothing was installed before")
    return StageAnswer(install_by(context, context.packages.install(context.spec, candidate), candidate))
