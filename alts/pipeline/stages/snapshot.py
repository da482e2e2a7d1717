"""Record the state of the machine, to compare moments with each other later."""

from __future__ import annotations

from alts.checks.state.capture import CAPTURE_PATH, UnreadableCapture, capture_argv, read_capture
from alts.checks.state.rules import rules_for
from alts.checks.state.snapshot import Snapshot
from alts.pipeline.context import StageContext
from alts.pipeline.stage import StageAnswer
from alts.shared.errors import StateUnreadable

BEFORE, INSTALLED, REMOVED, PURGED = "before", "installed", "removed", "purged"
"""The moments of a run at which the state is recorded, in this order."""

CAPTURE_LIMIT = 64_000_000
"""Bytes, about 700,000 files. Bounds the memory that a worker needs for one machine."""


def snapshot(context: StageContext) -> StageAnswer:
    """Record the state before the installation."""
    take(context, BEFORE)
    return StageAnswer()


def take(context: StageContext, moment: str) -> Snapshot:
    """Record and return the state as that of `moment`, for later stages and for the report.

    Raises what look() raises.
    """
    taken = look(context, f"snapshot of the machine, {moment}")
    context.seen.snapshots[moment] = taken
    return taken


def look(context: StageContext, title: str) -> Snapshot:
    """Return the state of the machine now. Only `title` goes to the log.

    Raises StateUnreadable or DiskFull, which never blame the package. Raises MachineRuined if the list of files exceeds
    CAPTURE_LIMIT. Raises Stopped or InstanceLost.
    """
    content = context.note(capture_argv(context.packages), CAPTURE_PATH, title, limit=CAPTURE_LIMIT)
    try:
        return read_capture(content, context.packages, rules_for(context.spec.platform.family))
    except UnreadableCapture as error:
        raise StateUnreadable("the state of the machine cannot be read", details=str(error)) from error
