"""Note what is on the machine, to say later what has changed."""

from __future__ import annotations

from alts.checks.state.capture import CAPTURE_PATH, UnreadableCapture, capture_argv, read_capture
from alts.checks.state.rules import rules_for
from alts.checks.state.snapshot import Snapshot
from alts.pipeline.context import StageContext
from alts.pipeline.stage import StageAnswer
from alts.shared.errors import StateUnreadable

BEFORE, INSTALLED, REMOVED, PURGED = "before", "installed", "removed", "purged"
"""The moments of a run that are compared with each other, in this order."""

CAPTURE_LIMIT = 64_000_000
"""Bytes, some 700,000 files: what a worker holds in memory of one machine has a bound."""


def snapshot(context: StageContext) -> StageAnswer:
    """Note the state before the package comes."""
    take(context, BEFORE)
    return StageAnswer()


def take(context: StageContext, moment: str) -> Snapshot:
    """Note the state of this moment for the stages to come and for the report.

    Raises StateUnreadable or DiskFull: ours, whatever the package did.
    """
    taken = look(context, f"state of the machine noted: {moment}")
    context.seen.snapshots[moment] = taken
    return taken


def look(context: StageContext, title: str) -> Snapshot:
    """The state of the machine now; `title` goes to the log.

    Raises StateUnreadable, DiskFull, or MachineRuined where there are too many files to note them all.
    """
    content = context.note(capture_argv(context.packages), CAPTURE_PATH, title, limit=CAPTURE_LIMIT)
    try:
        return read_capture(content, context.packages, rules_for(context.spec.family))
    except UnreadableCapture as error:
        raise StateUnreadable("the state of the machine cannot be read", details=str(error)) from error
