"""The kinds of machines that a task can ask for. alts.runners.registry has what makes each."""

from __future__ import annotations

from typing import Literal, get_args

RunnerName = Literal["docker"]
RunnerType = Literal[RunnerName, "any"]
"""What a request says: a kind, or "any" for the cheapest that offers the platform."""

RUNNER_NAMES: tuple[RunnerName, ...] = get_args(RunnerName)
