"""Machines are found by their labels, and only by them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from alts.runners.base import Machine
from alts.runners.docker.engine import Container, Engine, Network
from alts.runners.docker.errors import EngineFailed
from alts.runners.docker.inventory import Inventory

HOST = "unix:///nonexistent/docker.sock"

MADE_AT = 1000


def labels(task: str, attempt: int, worker: str) -> Mapping[str, str]:
    return {"alts.task": task, "alts.attempt": str(attempt), "alts.worker": worker}


class EngineInMemory(Engine):
    """Containers and networks in memory. Each pair has one id."""

    def __init__(self, *present: Mapping[str, str]) -> None:
        super().__init__(HOST)
        self.present = dict(enumerate(present))
        self.attached = dict(self.present)

    def containers(self, labels: Mapping[str, str | None]) -> tuple[Container, ...]:
        return tuple(
            Container(str(one), "", found, MADE_AT) for one, found in self.present.items() if _has(found, labels)
        )

    def networks(self, labels: Mapping[str, str | None] | None = None) -> tuple[Network, ...]:
        found = {one: found for one, found in self.attached.items() if _has(found, labels or {})}
        return tuple(Network(str(one), "", found[one], (), {}, MADE_AT) for one in found)

    def time(self) -> int:
        return MADE_AT + 5

    def remove_container(self, container: str) -> None:
        del self.present[int(container)]

    def remove_network(self, network: str) -> None:
        assert int(network) not in self.present
        del self.attached[int(network)]


def _has(found: Mapping[str, str], wanted: Mapping[str, str | None]) -> bool:
    return all(key in found and value in (None, found[key]) for key, value in wanted.items())


@pytest.fixture
def engine() -> EngineInMemory:
    return EngineInMemory(labels("a", 1, "w"), labels("a", 2, "w"), labels("b", 1, "v"), {"alts.task": "foreign"}, {})


def an_inventory(engine: Engine) -> Inventory:
    return Inventory(engine, worker="w")


def test_all_machines_with_an_attempt_are_listed(engine: EngineInMemory) -> None:
    found = {Machine("w", "a", 1, age=5), Machine("w", "a", 2, age=5), Machine("v", "b", 1, age=5)}
    assert set(an_inventory(engine).machines()) == found


def test_a_machine_that_was_made_ahead_has_an_id_of_its_own(engine: EngineInMemory) -> None:
    engine.present[9] = labels("waits", 0, "w")

    assert Machine("w", "waits", 0, age=5) in set(an_inventory(engine).machines())


def test_a_network_without_its_container_counts_as_a_machine(engine: EngineInMemory) -> None:
    engine.present.clear()

    assert Machine("v", "b", 1, age=5) in set(an_inventory(engine).machines())


def test_an_attempt_is_removed_with_its_network(engine: EngineInMemory) -> None:
    assert an_inventory(engine).remove_attempt("a", 2) == 1

    assert sorted(engine.present) == sorted(engine.attached) == [0, 2, 3, 4]


def test_only_earlier_attempts_are_leftovers(engine: EngineInMemory) -> None:
    assert an_inventory(engine).remove_before("a", 2) == 1

    assert sorted(engine.present) == sorted(engine.attached) == [1, 2, 3, 4]


def test_a_dead_worker_loses_all_its_machines(engine: EngineInMemory) -> None:
    assert an_inventory(engine).remove_all_of("w") == 2

    assert sorted(engine.present) == sorted(engine.attached) == [2, 3, 4]


def test_an_engine_that_is_away_is_an_error() -> None:
    with pytest.raises(EngineFailed):
        an_inventory(Engine(HOST)).remove_attempt("a", 1)
