"""A stage of a plan, and its answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from alts.pipeline.context import StageContext
from alts.shared.models.report import Finding, Kind


@dataclass(frozen=True)
class StageAnswer:
    """The result of a stage that ran to its end."""

    findings: tuple[Finding, ...] = ()
    skipped: str = ""
    """Why there was nothing to do; empty if there was something."""


@dataclass(frozen=True)
class Stage:
    """A row of a plan."""

    name: str
    action: Callable[[StageContext], StageAnswer]
    timeout: float
    """Seconds."""
    overrun: Kind
    """The kind of finding if the stage exceeds its timeout: TIMEOUT blames the package, a kind of ours does not."""
    failing: Kind
    """The kind of finding if the package breaks the machine during the stage and nothing says how."""
    needs: tuple[str, ...] = ()
    """Stages that must have passed before."""
    unless_failed: tuple[str, ...] = ()
    """Stages whose failure this one would only repeat. It runs if they passed or were skipped."""
