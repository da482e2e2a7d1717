"""A step that is taken again and again, in a thread of its own, until it is closed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from alts.shared.backoff import backoff
from alts.shared.errors import InfrastructureError

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0


class Loop:
    """Calls `step` until closed, and pauses in between for as many seconds as the step says.

    The pause ends early when `wake` is set. While the broker or the ledger is away (InfrastructureError) the pauses
    grow up to `longest_pause`. Not even a bug in the step ends the loop: it is logged, and the loop starts anew.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], float],
        *,
        wake: threading.Event | None = None,
        first_pause: float = FIRST_PAUSE,
        longest_pause: float = LONGEST_PAUSE,
    ) -> None:
        self._name = name
        self._step = step
        self._wake = wake or threading.Event()
        self._first_pause = first_pause
        self._longest_pause = longest_pause
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Raises RuntimeError when started twice."""
        if self._thread is not None:
            raise RuntimeError(f"{self._name} runs already")
        self._closing.clear()
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def close(self, *, seconds: float = 10.0) -> None:
        """Wait until the step that is under way has ended, but no longer than `seconds`."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._closing.set()
        self._wake.set()
        thread.join(seconds)
        if thread.is_alive():
            log.warning("a loop did not end in time", extra={"loop": self._name, "seconds": seconds})

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._take_steps()
            except Exception:
                # A loop that a bug has ended would leave every task waiting while the API goes on accepting more.
                log.exception("a loop failed and starts anew", extra={"loop": self._name})
                self._closing.wait(self._longest_pause)

    def _take_steps(self) -> None:
        failures = 0
        while not self._closing.is_set():
            # Cleared before the step looks at its work: what is written from here on sets it again.
            self._wake.clear()
            try:
                pause = self._step()
            except InfrastructureError as error:
                if failures == 0:
                    log.warning("a loop has to wait", extra={"loop": self._name, "reason": str(error)})
                pause = backoff(self._first_pause, times=failures, at_most=self._longest_pause)
                failures += 1
                # Not woken by new work: what is away stays away.
                self._closing.wait(pause)
                continue
            if failures:
                log.info("a loop goes on", extra={"loop": self._name, "failures": failures})
                failures = 0
            if pause > 0 and not self._closing.is_set():
                self._wake.wait(pause)
