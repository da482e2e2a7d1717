"""The packages of a chaos run and the truth about each: the outcome of its test, whatever breaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from alts.shared.models.report import Outcome


@dataclass(frozen=True)
class Package:
    """A package of known behaviour."""

    name: str
    truth: Outcome
    """The outcome of its task without a cancel, or of an endless task after its cancel."""
    weight: int
    """How often it is chosen, relative to the others."""
    seconds: tuple[float, float] = (0.05, 0.5)
    """Duration of its installation on a stub machine, in seconds."""

    @property
    def endless(self) -> bool:
        return self.truth is Outcome.CANCELLED


GOOD = Package("chaos-good", Outcome.PASSED, weight=6)
SLOW = Package("chaos-slow", Outcome.PASSED, weight=6, seconds=(0.8, 2.0))
BAD = Package("chaos-bad", Outcome.FAILED, weight=5)
MISSING = Package("chaos-missing", Outcome.FAILED, weight=2)
ERRORS_ONCE = Package("chaos-errors-once", Outcome.PASSED, weight=3)
"""The first machine for it does not come."""
ERRORS_ALWAYS = Package("chaos-errors-always", Outcome.ERRORED, weight=1)
"""No machine for it ever comes."""
ENDLESS = Package("chaos-endless", Outcome.CANCELLED, weight=2)
"""Its installation ends when it is cancelled, not before."""

STUB_PACKAGES = (GOOD, SLOW, BAD, MISSING, ERRORS_ONCE, ERRORS_ALWAYS, ENDLESS)
REAL_PACKAGES = (GOOD, SLOW, BAD, MISSING, ENDLESS)
"""The packages for runs with real machines, which cannot be told to fail."""

PACKAGES: Mapping[str, Package] = {package.name: package for package in STUB_PACKAGES}
