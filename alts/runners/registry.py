"""Ways to get machines: the name in the configuration → what makes the runner."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from alts.runners.base import Runner
from alts.runners.docker.composition import docker_runner
from alts.runners.pool.composition import pooled

MakeRunner = Callable[..., Runner]
"""Called with (config, worker=<identity to label with>, folder=<for what serves every task>)."""

RUNNERS: Mapping[str, MakeRunner] = {"docker": pooled(docker_runner)}
