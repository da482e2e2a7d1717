"""A function that a thread calls repeatedly until it is closed."""

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
    """Calls `step` in a thread of its own until closed. The step returns the pause before the next call, in seconds.

    Setting `wake` ends a pause early. After an InfrastructureError, e.g. of a broker or ledger that is away, the pauses
    start at `first_pause` seconds and double up to `longest_pause`. Any other error is logged, and the loop goes on.
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
        """Start the thread. Raises RuntimeError if it runs already."""
        if self._thread is not None:
            raise RuntimeError(f"{self._name} runs already")
        self._closing.clear()
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def close(self, *, seconds: float = 10.0) -> None:
        """Stop, and wait up to `seconds` for the current step to end. A step that takes longer is logged."""
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
                # If a bug ended the loop, all tasks would wait while the API goes on accepting more.
                log.exception("a loop failed and starts anew", extra={"loop": self._name})
                self._closing.wait(self._longest_pause)

    def _take_steps(self) -> None:
        failures = 0
        while not self._closing.is_set():
            # Cleared before the step reads its work, so that anything written later wakes it again.
            self._wake.clear()
            try:
                pause = self._step()
            except InfrastructureError as error:
                if failures == 0:
                    log.warning("a loop has to wait", extra={"loop": self._name, "reason": str(error)})
                pause = backoff(self._first_pause, times=failures, at_most=self._longest_pause)
                failures += 1
                # Not `wake`: new work does not bring the broker or the ledger back.
                self._closing.wait(pause)
                continue
            if failures:
                log.info("a loop goes on", extra={"loop": self._name, "failures": failures})
                failures = 0
            if pause > 0 and not self._closing.is_set():
                self._wake.wait(pause)
