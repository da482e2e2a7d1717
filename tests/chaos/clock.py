"""A time of day for each process that a test can set, by libfaketime. The monotonic clock stays the host's.

`python -m tests.chaos.clock MODULE ARGUMENT...` runs a module as `python -m MODULE` does, in a process whose
environment is that of WallClock.
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
# How often a process reads the offset, in seconds. Reading it at every look at the clock costs more than the whole
# service does.
LOOKS = 1


class WallClock:
    """The time of day of the processes that have its environment: the host's, plus an offset that can be changed."""

    def __init__(self, file: Path) -> None:
        """`file` is made; it holds the offset."""
        self._file = file
        self._write(0)

    def set(self, offset: float) -> None:
        """Let the processes' time of day be ahead by that many seconds, or behind, when this returns."""
        self._write(offset)
        time.sleep(LOOKS + 0.1)

    def _write(self, offset: float) -> None:
        draft = self._file.with_suffix(".draft")
        draft.write_text(f"{offset:+.0f}\n")
        # None may see it half-written.
        draft.replace(self._file)

    @property
    def environment(self) -> Mapping[str, str]:
        """What a process must be started with. Its children have the host's time, unless it passes this on."""
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
    """In place of time.sleep, which waits for an absolute monotonic time: libfaketime 0.9.10 fails on that (EINVAL)."""
    threading.Event().wait(seconds)


def main() -> None:
    time.sleep = _sleep
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
