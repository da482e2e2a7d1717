"""The limit on simultaneous machines, over all processes of a test run."""

from __future__ import annotations

import fcntl
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.checkout import ROOT

AT_ONCE = 4
"""On two cores, more machines only wait for each other and for anything that has a deadline."""

SHARED = ROOT / ".alts/machine-slots"
"""The folder that the processes of a run share."""

_INTERVAL = 0.1  # seconds between two looks for a free slot


class MachineSlots:
    """Locks on files of one folder. The kernel releases a lock when its process dies (flock(2))."""

    def __init__(self, folder: Path, *, number: int = AT_ONCE) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._files = [folder / f"{slot}.lock" for slot in range(number)]

    @contextmanager
    def one(self, *, seconds: float) -> Iterator[None]:
        """Hold a slot. Raises TimeoutError if none is free within `seconds`."""
        until = time.monotonic() + seconds
        while (held := self._try()) is None:
            if time.monotonic() > until:
                raise TimeoutError(f"no slot for a machine came free in {seconds:.0f} s")
            time.sleep(_INTERVAL)
        try:
            yield
        finally:
            os.close(held)

    def _try(self) -> int | None:
        for file in random.sample(self._files, len(self._files)):
            handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
            else:
                return handle
        return None
