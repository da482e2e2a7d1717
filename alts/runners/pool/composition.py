"""Puts a pool in front of a runner, as the configuration says."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from alts.host.memory import available_mb
from alts.runners.base import BatchRunner, Runner
from alts.runners.pool.refill import PoolSettings, Refill
from alts.runners.pool.runner import PooledRunner
from alts.runners.pool.stock import Stock
from alts.shared.config import Config

# A machine that waits is one sleeping process and its container's supervisor. Its task will need more.
_MACHINE_MB = 128
_RESERVED_MB = 512  # stays free for the tasks that run

_LARGEST_DEFAULT = 4


def pooled(make: Callable[..., BatchRunner]) -> Callable[..., Runner]:
    """Return a factory like `make` (see alts.runners.registry.MakeRunner) whose runner has a pool."""

    def make_runner(config: Config, *, worker: str, folder: Path) -> Runner:
        return with_pool(make(config, worker=worker, folder=folder), config, folder=folder)

    return make_runner


def with_pool(runner: BatchRunner, config: Config, *, folder: Path) -> Runner:
    """Return the runner with a pool, or the runner itself if the pool's size is 0. `folder`: for all tasks."""
    size = default_size() if config.pool_size is None else config.pool_size
    if size == 0:
        return runner
    stock = Stock(memory=config.pool_max_age)
    settings = PoolSettings(size=size, max_age=config.pool_max_age)
    return PooledRunner(runner, stock, Refill(runner, stock, settings, folder=folder / "pool", room=room))


def default_size() -> int:
    """Return a size that suits this host: a machine for each processor, at most four."""
    return min(_LARGEST_DEFAULT, os.cpu_count() or 1)


def room() -> int:
    """Return how many more machines this host's memory allows; many if the kernel does not say."""
    try:
        return max(0, (available_mb() - _RESERVED_MB) // _MACHINE_MB)
    except (OSError, ValueError):
        return _LARGEST_DEFAULT
