"""Upgrade from the distribution's version to the version under test."""

from __future__ import annotations

from alts.pipeline.context import StageContext
from alts.pipeline.stage import StageAnswer
from alts.pipeline.transaction import install_by, remove_by


def upgrade(context: StageContext) -> StageAnswer:
    """Remove the package, install the distribution's version, and install the version under test over it.

    Skipped if the distribution has no older version, or one that does not install: no machine has it to upgrade then.
    """
    spec, packages, candidate = context.spec, context.packages, context.seen.candidate
    if candidate is None:
        return StageAnswer(skipped="nothing was installed before")
    base = packages.upgrade_base(spec, candidate, context.seen.candidates)
    if base is None:
        return StageAnswer(skipped=f"the distribution has no {spec.package_name} older than {candidate.version}")
    # The stage before has installed the package. A purge removes it, too.
    if findings := remove_by(context, packages.purge(spec) or packages.remove(spec)):
        return StageAnswer(findings)
    if findings := install_by(context, packages.install(spec, base), base):
        if ours := tuple(finding for finding in findings if finding.kind.ours):
            return StageAnswer(ours)
        return StageAnswer(skipped=f"the distribution's own {base.version} does not install: {findings[0].message}")
    return StageAnswer(install_by(context, packages.install(spec, candidate), candidate))
