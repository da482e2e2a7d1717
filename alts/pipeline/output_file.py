"""The whole output of a command, byte for byte. The log and the result of a command hold only a part."""

from __future__ import annotations

from collections.abc import Sequence

from alts.pipeline.context import StageContext

OUTPUT_PATH = "/.alts-output"
"""The file on the machine; see alts.checks.state.capture.CAPTURE_PATH for the choice of the folder."""

LIMIT = 64_000_000
"""Bytes. A list of all files of the largest machines has a third of that."""

_SCRIPT = 'out=$1; shift; rm -f "$out"; "$@" >"$out"'


def whole_output(context: StageContext, argv: Sequence[str], title: str, *, limit: int = LIMIT) -> bytes:
    """Run a program and return its standard output. Only `title` goes to the log.

    Raises MachineRuined if the output has more than `limit` bytes. Raises Stopped, InstanceLost, DiskFull or
    StateUnreadable.
    """
    return context.note(("/bin/sh", "-c", _SCRIPT, "sh", OUTPUT_PATH, *argv), OUTPUT_PATH, title, limit=limit)
