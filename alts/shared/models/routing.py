"""Routing: the queue of a task, and the queues of a worker. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from alts.shared.config import RunnerConfig
from alts.shared.errors import UnsupportedPlatform
from alts.shared.models.distributions import DISTRIBUTIONS, HOST_ARCHITECTURES
from alts.shared.models.task_spec import TaskSpec

ANY_RUNNER = "any"


def queue_name(runner: str, architecture: str, cost: int) -> str:
    """Return e.g. "docker-x86_64-0"."""
    return f"{runner}-{architecture}-{cost}"


def runner_for(spec: TaskSpec, runners: Mapping[str, RunnerConfig]) -> str:
    """Return the name of the runner for this task, e.g. "docker".

    Of the runners that offer the platform the one with the lowest cost wins, then the first by name.
    Raises UnsupportedPlatform, which lists the offered platforms, if no runner offers it.
    """
    architecture = spec.platform.host_architecture
    candidates = sorted(
        (runner.cost, name)
        for name, runner in runners.items()
        if spec.runner_type in (ANY_RUNNER, name)
        and architecture in runner.architectures
        and spec.platform.architecture in spec.platform.release.architectures
    )
    if not candidates:
        raise UnsupportedPlatform(
            f"no runner offers {spec.platform}",
            resolution=f"choose one of: {', '.join(offered(runners, spec.runner_type)) or 'nothing is offered'}",
            field="dist_arch",
        )
    return candidates[0][1]


def queue_for(spec: TaskSpec, runners: Mapping[str, RunnerConfig]) -> str:
    """Return the name of the queue whose workers can run this task, e.g. "docker-x86_64-0".

    Raises UnsupportedPlatform like runner_for.
    """
    name = runner_for(spec, runners)
    return queue_name(name, spec.platform.host_architecture, runners[name].cost)


def offered(runners: Mapping[str, RunnerConfig], runner_type: str = ANY_RUNNER) -> list[str]:
    """Return the platforms that runners of this type offer, e.g. ["debian-11 on x86_64", ...]."""
    architectures = {
        architecture
        for name, runner in runners.items()
        if runner_type in (ANY_RUNNER, name)
        for architecture in runner.architectures
    }
    return sorted(
        f"{distribution.name}-{release.version} on {architecture}"
        for distribution in DISTRIBUTIONS.values()
        for release in distribution.releases.values()
        for architecture in release.architectures
        if HOST_ARCHITECTURES[architecture] in architectures
    )


def queues_of(runners: Mapping[str, RunnerConfig], architectures: Iterable[str] | None = None) -> list[str]:
    """Return the names of all runners' queues, or only those for hosts of `architectures`."""
    wanted = None if architectures is None else set(architectures)
    return sorted(
        queue_name(name, architecture, runner.cost)
        for name, runner in runners.items()
        for architecture in runner.architectures
        if wanted is None or architecture in wanted
    )
