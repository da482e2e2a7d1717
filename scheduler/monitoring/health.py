"""Health of the scheduler's parts: checked in parallel, with a time limit, and not too often."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass

from alts.shared.errors import AltsError

CHECK_SECONDS = 2.0
# /health needs no token, so a client that polls it in a loop must not load the parts.
KEPT_SECONDS = 1.0


@dataclass(frozen=True)
class PartHealth:
    """Whether a part works. `detail` says why not."""

    ok: bool
    detail: str = ""


class Health:
    """Runs a check for each part. Any thread may call it.

    A check raises an AltsError if its part does not work. A hanging check is not started a second time, so frequent
    requests need no more threads.
    """

    def __init__(
        self,
        checks: Mapping[str, Callable[[], None]],
        *,
        seconds: float = CHECK_SECONDS,
        kept: float = KEPT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`seconds`: time limit of a check. `kept`: seconds for which an answer is reused."""
        self._checks = checks
        self._seconds = seconds
        self._kept = kept
        self._clock = clock
        self._answers: dict[str, PartHealth] = {}
        self._answers_until = float("-inf")
        self._lock = threading.Lock()
        self._executor = ThreadPoolExecutor(max_workers=max(1, len(checks)), thread_name_prefix="health")
        self._running: dict[str, Future[None]] = {}

    def ask(self) -> dict[str, PartHealth]:
        """Return the health of each part by name, within `seconds`. Concurrent callers share one answer."""
        with self._lock:
            if self._clock() >= self._answers_until:
                self._answers = self._look()
                self._answers_until = self._clock() + self._kept
            return self._answers

    def close(self) -> None:
        """Start no more checks."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _look(self) -> dict[str, PartHealth]:
        deadline = time.monotonic() + self._seconds
        for name, check in self._checks.items():
            if name not in self._running or self._running[name].done():
                self._running[name] = self._executor.submit(check)
        return {name: self._answer(future, deadline) for name, future in self._running.items()}

    def _answer(self, future: Future[None], deadline: float) -> PartHealth:
        try:
            future.result(timeout=max(0.0, deadline - time.monotonic()))
        except FutureTimeout:
            return PartHealth(ok=False, detail=f"no answer within {self._seconds:g} s")
        except AltsError as error:
            return PartHealth(ok=False, detail=str(error))
        return PartHealth(ok=True)
