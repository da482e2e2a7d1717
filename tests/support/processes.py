"""Find processes by their command lines."""

from __future__ import annotations

import time
from pathlib import Path


def pids_of(*words: str) -> list[int]:
    """Return the ids of living processes whose command line contains all the words."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if all(word in command for word in words):
            found.append(int(process.name))
    return found


def ended(pid: int, *, within: float = 10.0) -> bool:
    """Whether the process is gone, or a zombie that waits for its parent."""
    end = time.monotonic() + within
    while True:
        try:
            if "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text():
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
