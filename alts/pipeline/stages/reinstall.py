"""Install the package over itself."""

from __future__ import annotations

from alts.pipeline.context import StageContext
from alts.pipeline.stage import StageAnswer
from alts.pipeline.transaction import install_by


def reinstall(context: StageContext) -> StageAnswer:
    """The maintainer scripts must cope with files of theirs that are there already."""
    candidate = context.seen.candidate
    if candidate is None or context.seen.already_installed:
        return StageAnswer(skipped=f"{context.spec.package_name} was not installed by this test")
    reinstalling = context.packages.reinstall(context.spec, candidate)
    return StageAnswer(install_by(context, reinstalling, candidate))
