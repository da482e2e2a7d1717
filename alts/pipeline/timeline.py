"""The timeline of a stage: which step ran when, for how long."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from alts.shared.models.report import MOST_STEPS, Step


class Timeline:
    """Records the steps of one stage, the first 200 of them. It begins when it is made."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start = clock()
        self._steps: list[Step] = []

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps that have ended, in that order."""
        return tuple(self._steps)

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return self._clock() - self._start

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Record the `with` block as a step, also if it raises."""
        at = self.seconds
        try:
            yield
        finally:
            if len(self._steps) < MOST_STEPS:
                self._steps.append(Step(name=name, at=round(at, 3), seconds=round(self.seconds - at, 3)))
