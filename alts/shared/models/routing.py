"""Which queue a task goes to, and which queues a worker listens on. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from alts.shared.config import RunnerConfig
from alts.shared.errors import UnsupportedPlatform
from alts.shared.models.distributions import DISTRIBUTIONS, HOST_ARCHITECTURES
from alts.shared.models.task_spec import TaskSpec

ANY_RUNNER = "any"


def queue_name(runner: str, architecture: str, cost: int) -> str:
    """Such as "docker-x86_64-0"."""
    return f"{runner}-{architecture}-{cost}"


def runner_for(spec: TaskSpec, runners: Mapping[str, RunnerConfig]) -> str:
    """Name the runner for this task, such as "docker".

    Of the runners that offer the platform the cheapest wins; equals go by name.
    Raises UnsupportedPlatform, listing what is offered, when there is none.
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
    """Name the queue whose workers can run this task, such as "docker-x86_64-0".

    Raises UnsupportedPlatform like runner_for.
    """
    name = runner_for(spec, runners)
    return queue_name(name, spec.platform.host_architecture, runners[name].cost)


def offered(runners: Mapping[str, RunnerConfig], runner_type: str = ANY_RUNNER) -> list[str]:
    """What can be asked for, such as ["debian-11 on x86_64", ...]."""
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
    """Every queue that the runners can be reached by; with `architectures`, only those of such hosts."""
    wanted = None if architectures is None else set(architectures)
    return sorted(
        queue_name(name, architecture, runner.cost)
        for name, runner in runners.items()
        for architecture in runner.architectures
        if wanted is None or architecture in wanted
    )
