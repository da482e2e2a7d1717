"""What a command prints, of any length and to the byte: the log and the verdict's readers only ever see a part."""

from __future__ import annotations

from collections.abc import Sequence

from alts.stages.base import StageContext

OUTPUT_PATH = "/.alts-output"
"""Where it lies on the machine, see alts.snapshots.capture.CAPTURE_PATH."""

_SCRIPT = 'out=$1; shift; rm -f "$out"; "$@" >"$out"'


def whole_output(context: StageContext, argv: Sequence[str], title: str) -> bytes:
    """The standard output; `title` goes to the log. Raises Stopped, InstanceLost, DiskFull or StateUnreadable."""
    return context.note(("/bin/sh", "-c", _SCRIPT, "sh", OUTPUT_PATH, *argv), OUTPUT_PATH, title)
