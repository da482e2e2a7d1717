"""Make the fresh machine ready: what terraform and ansible have left to do is to read the repositories."""

from __future__ import annotations

from alts.core.command import Completed
from alts.pipeline.context import StageAnswer, StageContext
from alts.shared.models.report import Finding


def prepare(context: StageContext) -> StageAnswer:
    """Fetch the package lists of the distribution and of the task's repositories."""
    version = context.run(context.packages.version_argv())
    context.seen.package_manager = context.packages.read_version(version.output)
    done = context.run(context.packages.refresh_argv())
    return StageAnswer(_findings(context, done))


def _findings(context: StageContext, done: Completed) -> tuple[Finding, ...]:
    spec, packages = context.spec, context.packages
    findings = packages.refresh_findings(spec, done)
    argv = packages.served_argv(spec, done) if findings else None
    if argv is None:
        return findings
    return packages.read_served(spec, done, context.run(argv, question=True))
