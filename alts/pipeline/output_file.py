"""What a command prints, long as it is and to the byte: the log and the verdict's readers only ever see a part."""

from __future__ import annotations

from collections.abc import Sequence

from alts.pipeline.context import StageContext

OUTPUT_PATH = "/.alts-output"
"""Where it lies on the machine, see alts.checks.state.capture.CAPTURE_PATH."""

LIMIT = 64_000_000
"""Bytes: a list of all files of the largest machines has a third of it."""

_SCRIPT = 'out=$1; shift; rm -f "$out"; "$@" >"$out"'


def whole_output(context: StageContext, argv: Sequence[str], title: str, *, limit: int = LIMIT) -> bytes:
    """The standard output; `title` goes to the log.

    Raises Stopped, InstanceLost, DiskFull, StateUnreadable, or MachineRuined where it is more than `limit` bytes.
    """
    return context.note(("/bin/sh", "-c", _SCRIPT, "sh", OUTPUT_PATH, *argv), OUTPUT_PATH, title, limit=limit)
