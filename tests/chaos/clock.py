"""A time of day for each process that a test can set, by time-machine. The monotonic clock stays the host's.

`python -m tests.chaos.clock MODULE ARGUMENT...` runs a module like `python -m MODULE`, in a process with the
environment of a WallClock. Its children have the host's time.
"""

from __future__ import annotations

import os
import runpy
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import time_machine

VARIABLE = "ALTS_TEST_CLOCK"
"""The file with the process's offset."""
LOOKS = 0.05
"""Seconds between a process's reads of the file."""


class WallClock:
    """The time of day of the processes with its environment: the host's time plus a changeable offset."""

    def __init__(self, file: Path) -> None:
        """`file` is created and holds the offset in seconds."""
        self._file = file
        self._write(0)

    def set(self, offset: float) -> None:
        """Set the processes' time of day ahead by that many seconds, or back. It is set when this returns."""
        self._write(offset)
        time.sleep(LOOKS * 4)

    def _write(self, offset: float) -> None:
        draft = self._file.with_suffix(".draft")
        draft.write_text(f"{offset:+.0f}\n")
        # No process may see it half-written.
        draft.replace(self._file)

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment that a process must start with."""
        return {VARIABLE: str(self._file)}


def follow(file: Path) -> None:
    """Set this process's time of day as the file says, from now on."""
    offset = float(file.read_text())
    moved = time_machine.travel(datetime.now(UTC) + timedelta(seconds=offset), tick=True).start()

    def keep() -> None:
        known = offset
        while True:
            time.sleep(LOOKS)
            wanted = float(file.read_text())
            if wanted != known:
                moved.shift(wanted - known)
                known = wanted

    threading.Thread(target=keep, name="clock", daemon=True).start()


def main() -> None:
    """Run the module that the command line names."""
    follow(Path(os.environ[VARIABLE]))
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
