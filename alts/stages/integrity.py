"""See that what was installed is what was shipped."""

from __future__ import annotations

from alts.stages.base import StageAnswer, StageContext


def integrity(context: StageContext) -> StageAnswer:
    """Compare every installed file with the checksums in the package. Nothing is installed for it."""
    done = context.run(context.packages.verify_argv(context.spec))
    return StageAnswer(context.packages.verify_findings(context.spec, done))
