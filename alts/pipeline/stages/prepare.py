"""Read the repositories, the last step after Terraform and Ansible to make the fresh machine ready."""

from __future__ import annotations

from alts.pipeline.context import StageContext
from alts.pipeline.package_lists import fetch_missing
from alts.pipeline.stage import StageAnswer


def prepare(context: StageContext) -> StageAnswer:
    """Record the package manager's version; fetch the package lists that the machine's image does not bring."""
    version = context.packages.version()
    context.seen.package_manager = version.read(context.run(version.argv, repeatable=True).output)
    return StageAnswer(fetch_missing(context))
