"""The packages that a chaos run asks for, and the truth about each: what a test of it must say, whatever breaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from alts.shared.models.report import Outcome


@dataclass(frozen=True)
class Package:
    """A package of known behaviour."""

    name: str
    truth: Outcome
    """The outcome of a task for it that nobody cancels; of one that never ends by itself, once it is cancelled."""
    weight: int
    """How often it is asked for, among the others."""
    seconds: tuple[float, float] = (0.05, 0.5)
    """How long its installation takes, on a stub machine."""

    @property
    def endless(self) -> bool:
        return self.truth is Outcome.CANCELLED


GOOD = Package("chaos-good", Outcome.PASSED, weight=6)
SLOW = Package("chaos-slow", Outcome.PASSED, weight=6, seconds=(0.8, 2.0))
BAD = Package("chaos-bad", Outcome.FAILED, weight=5)
MISSING = Package("chaos-missing", Outcome.FAILED, weight=2)
ERRORS_ONCE = Package("chaos-errors-once", Outcome.PASSED, weight=3)
"""The first machine that is asked for does not come."""
ERRORS_ALWAYS = Package("chaos-errors-always", Outcome.ERRORED, weight=1)
"""No machine ever comes."""
ENDLESS = Package("chaos-endless", Outcome.CANCELLED, weight=2)
"""Its installation ends when it is cancelled, not before."""

STUB_PACKAGES = (GOOD, SLOW, BAD, MISSING, ERRORS_ONCE, ERRORS_ALWAYS, ENDLESS)
REAL_PACKAGES = (GOOD, SLOW, BAD, MISSING, ENDLESS)
"""Those that are built for the runs with real machines, which are not told to fail."""

PACKAGES: Mapping[str, Package] = {package.name: package for package in STUB_PACKAGES}
