"""The execution journal: what every worker process really did, written beside the service, not by it."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

JOURNAL_NAME = "journal.jsonl"
FOLDER_VARIABLE = "ALTS_CHAOS_FOLDER"
"""Environment variable with the run's folder."""
REAL_VARIABLE = "ALTS_CHAOS_REAL"
"""Environment variable that is set if a run's machines are real."""


class Step(StrEnum):
    """A step of an execution."""

    START = "start"
    TAKEN = "taken"
    """The execution has got a machine. The entry's `machine` is that machine's id."""
    END = "end"
    ROBBED = "robbed"
    """The machine was removed from outside while the attempt was at work."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line. `at` is the kernel's monotonic clock in seconds, which all processes of a host share."""

    step: Step
    task_id: str
    attempt: int
    pid: int
    worker: str
    """The identity in the labels of its machines."""
    machine: str
    """Id of this execution alone, except with TAKEN."""
    at: float


class Journal:
    """Appends to a file that all workers of a run share."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / JOURNAL_NAME

    def write(self, step: Step, *, task_id: str, attempt: int, worker: str, machine: str) -> None:
        entry = Entry(
            step=step,
            task_id=task_id,
            attempt=attempt,
            pid=os.getpid(),
            worker=worker,
            machine=machine,
            at=time.monotonic(),
        )
        line = json.dumps(asdict(entry)) + "\n"
        # One write to an O_APPEND file is atomic (write(2)), even if the process is killed in the same moment.
        handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)

    def read(self) -> list[Entry]:
        """Return the entries in the order of writing."""
        if not self._path.exists():
            return []
        entries = [json.loads(line) for line in self._path.read_text().splitlines()]
        return [Entry(**{**entry, "step": Step(entry["step"])}) for entry in entries]
