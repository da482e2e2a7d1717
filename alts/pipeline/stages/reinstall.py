"""Install the package over itself."""

from __future__ import annotations

from alts.pipeline.context import StageContext
from alts.pipeline.stage import StageAnswer
from alts.pipeline.transaction import install_by


def reinstall(context: StageContext) -> StageAnswer:
    """Install the candidate over itself. The maintainer scripts must cope with their own files being there.

    Skipped if the base image had the package.
    """
    candidate = context.seen.candidate
    if candidate is None or context.seen.already_installed:
        return StageAnswer(skipped=f"{context.spec.package_name} was not installed by this test")
    reinstalling = context.packages.reinstall(context.spec, candidate)
    return StageAnswer(install_by(context, reinstalling, candidate))
