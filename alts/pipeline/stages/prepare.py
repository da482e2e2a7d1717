"""Read the repositories, the last step after Terraform and Ansible to make the fresh machine ready."""

from __future__ import annotations

from alts.pipeline.context import StageContext
from alts.pipeline.stage import StageAnswer


def prepare(context: StageContext) -> StageAnswer:
    """Record the package manager's version; fetch the lists of the distribution and of the task's repositories."""
    spec, packages = context.spec, context.packages
    version, refresh = packages.version(), packages.refresh(spec)
    context.seen.package_manager = version.read(context.run(version.argv, repeatable=True).output)
    done = context.run(refresh.argv, repeatable=refresh.repeatable)
    findings = refresh.judge(done)
    served = packages.served(spec, done) if findings else None
    return StageAnswer(findings if served is None else context.ask(served))
