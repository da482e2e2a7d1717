"""Names of the runners in requests and in the configuration. alts.runners.registry has their implementations."""

from __future__ import annotations

from typing import Literal, get_args

RunnerName = Literal["docker"]
RunnerType = Literal[RunnerName, "any"]
"""`runner_type` of a request: a runner, or "any" for the cheapest one that offers the platform."""

RUNNER_NAMES: tuple[RunnerName, ...] = get_args(RunnerName)
