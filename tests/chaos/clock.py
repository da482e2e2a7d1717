"""A time of day for each process that a test can set, by libfaketime. The monotonic clock stays the host's.

`python -m tests.chaos.clock MODULE ARGUMENT...` runs a module like `python -m MODULE`, in a process with the
environment of a WallClock.
"""

from __future__ import annotations

import runpy
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

FAKETIME = "faketime/libfaketimeMT.so.1"
# Seconds between a process's reads of the offset. Reading it at every look at the clock costs more than the whole
# service does.
LOOKS = 1


class WallClock:
    """The time of day of the processes with its environment: the host's time plus a changeable offset."""

    def __init__(self, file: Path) -> None:
        """`file` is created and holds the offset."""
        self._file = file
        self._write(0)

    def set(self, offset: float) -> None:
        """Set the processes' time of day ahead by that many seconds, or back. It is set when this returns."""
        self._write(offset)
        time.sleep(LOOKS + 0.1)

    def _write(self, offset: float) -> None:
        draft = self._file.with_suffix(".draft")
        draft.write_text(f"{offset:+.0f}\n")
        # No process may see it half-written.
        draft.replace(self._file)

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment that a process must start with.

        Its children have the host's time, unless it passes this on.
        """
        return {
            "LD_PRELOAD": str(_library(Path("/usr/lib").glob(f"*/{FAKETIME}"))),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": str(LOOKS),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


def _library(found: Iterable[Path]) -> Path:
    for library in found:
        return library
    raise FileNotFoundError(f"no {FAKETIME}: as root, apt-get install libfaketime")


def _sleep(seconds: Any, /) -> None:
    """Replace time.sleep. It waits for an absolute monotonic time, on which libfaketime 0.9.10 fails (EINVAL)."""
    threading.Event().wait(seconds)


def main() -> None:
    time.sleep = _sleep
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
