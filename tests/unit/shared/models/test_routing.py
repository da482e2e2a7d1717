"""Every request goes to a queue that some worker listens on, or is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alts.shared.config import RunnerConfig
from alts.shared.errors import UnsupportedPlatform
from alts.shared.models.distributions import DISTRIBUTIONS, HOST_ARCHITECTURES
from alts.shared.models.routing import offered, queue_for, queues_of
from alts.shared.models.task_spec import TaskSpec
from tests.support.builders import a_spec

RUNNERS = {"docker": RunnerConfig()}

platforms = st.sampled_from(
    [(distribution.name, version) for distribution in DISTRIBUTIONS.values() for version in distribution.releases]
)
runner_configs = st.builds(
    RunnerConfig,
    cost=st.integers(0, 1000),
    architectures=st.lists(st.sampled_from(["x86_64", "aarch64"]), unique=True, max_size=2).map(tuple),
)
runner_tables = st.dictionaries(st.sampled_from(["docker", "opennebula", "qemu"]), runner_configs, max_size=3)


@st.composite
def specs(draw: st.DrawFn) -> TaskSpec:
    name, version = draw(platforms)
    return a_spec(
        dist_name=name,
        dist_version=version,
        dist_arch=draw(st.sampled_from(sorted(HOST_ARCHITECTURES))),
        runner_type=draw(st.sampled_from(["docker", "any"])),
    )


@pytest.mark.parametrize("architecture", ["x86_64", "amd64", "i686"])
@pytest.mark.parametrize("runner_type", ["docker", "any"])
def test_every_spelling_of_x86_goes_to_x86_64_hosts(architecture: str, runner_type: str) -> None:
    assert queue_for(a_spec(dist_arch=architecture, runner_type=runner_type), RUNNERS) == "docker-x86_64-0"


@pytest.mark.parametrize("architecture", ["aarch64", "arm64"])
def test_what_no_runner_offers_is_refused_with_a_list_of_what_is(architecture: str) -> None:
    with pytest.raises(UnsupportedPlatform) as refusal:
        queue_for(a_spec(dist_arch=architecture), RUNNERS)

    assert refusal.value.field == "dist_arch"
    assert "debian-12 on x86_64" in str(refusal.value)


def test_of_two_runners_the_cheaper_one_gets_the_task() -> None:
    runners = {"docker": RunnerConfig(cost=5), "qemu": RunnerConfig(cost=1)}

    assert queue_for(a_spec(runner_type="any"), runners) == "qemu-x86_64-1"
    assert queue_for(a_spec(runner_type="docker"), runners) == "docker-x86_64-5"


@settings(max_examples=200, deadline=1000)
@given(spec=specs(), runners=runner_tables)
def test_a_task_is_either_refused_or_goes_to_a_queue_of_a_fitting_host(
    spec: TaskSpec, runners: dict[str, RunnerConfig]
) -> None:
    try:
        queue = queue_for(spec, runners)
    except UnsupportedPlatform:
        assert f"{spec.dist_name}-{spec.dist_version} on {spec.platform.architecture}" not in offered(
            runners, spec.runner_type
        )
        return
    assert queue in queues_of(runners, [spec.platform.host_architecture])


@settings(max_examples=100, deadline=1000)
@given(spec=specs(), runners=runner_tables, data=st.data())
def test_the_order_of_the_runners_decides_nothing(
    spec: TaskSpec, runners: dict[str, RunnerConfig], data: st.DataObject
) -> None:
    shuffled = dict(data.draw(st.permutations(list(runners.items()))))

    def answer(table: dict[str, RunnerConfig]) -> str | None:
        try:
            return queue_for(spec, table)
        except UnsupportedPlatform:
            return None

    assert answer(shuffled) == answer(runners)


@settings(max_examples=100, deadline=1000)
@given(runners=runner_tables)
def test_the_hosts_of_all_architectures_together_listen_on_every_queue(runners: dict[str, RunnerConfig]) -> None:
    assert sorted(queues_of(runners, ["x86_64"]) + queues_of(runners, ["aarch64"])) == queues_of(runners)
