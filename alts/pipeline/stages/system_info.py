"""Describe the fresh machine in the log, so that a verdict can be understood later."""

from __future__ import annotations

from alts.pipeline.context import StageContext
from alts.pipeline.stage import StageAnswer
from alts.shared.models.report import Finding, Kind


def system_info(context: StageContext) -> StageAnswer:
    """Log release, kernel, architecture, repositories and installed packages, before the installation."""
    for argv in context.packages.system_argv():
        done = context.run(argv, repeatable=True)
        if not done.ok:
            finding = Finding(
                kind=Kind.INTERNAL,
                message=f"{argv[0]} failed on the fresh machine with exit code {done.exit_code}",
                evidence=done.tail(1),
            )
            return StageAnswer((finding,))
    return StageAnswer()
