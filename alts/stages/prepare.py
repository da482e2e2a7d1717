"""Make the fresh machine ready: what terraform and ansible have left to do is to read the repositories."""

from __future__ import annotations

from alts.stages.base import StageAnswer, StageContext


def prepare(context: StageContext) -> StageAnswer:
    """Fetch the package lists of the distribution and of the task's repositories."""
    version = context.run(context.packages.version_argv())
    context.seen.package_manager = context.packages.read_version(version.output)
    done = context.run(context.packages.refresh_argv())
    return StageAnswer(context.packages.refresh_findings(context.spec, done))
