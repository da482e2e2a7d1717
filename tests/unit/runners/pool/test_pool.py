"""A runner with a pool: machines are made ahead, used once, replaced, and removed in the background."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from alts.core.output import OutputSink
from alts.core.stop import Stop
from alts.runners.base import MachineRequest, Provisioned
from alts.runners.pool.composition import with_pool
from alts.runners.pool.refill import PoolSettings, Refill
from alts.runners.pool.runner import PooledRunner
from alts.runners.pool.stock import Stock
from alts.shared.errors import ProvisionFailed
from alts.shared.models.platform import Platform
from tests.support.builders import TASK_ID, a_config
from tests.support.fakes import FakeInstance, FakeRunner
from tests.support.stack import until

TWELVE, THIRTEEN = Platform("debian", "12", "x86_64"), Platform("debian", "13", "x86_64")
SOON = 10.0


class BatchRunner(FakeRunner):
    """Makes batches, and knows which of its machines exist."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[str]] = []
        self.exist: dict[tuple[str, int], FakeInstance] = {}
        self.cold = 0
        self.outdated: set[str] = set()
        """Names of machines whose image has been replaced."""
        self.may_make = threading.Event()
        self.may_make.set()

    @contextmanager
    def make(self, request: MachineRequest, *, stop: Stop, log: OutputSink) -> Iterator[Provisioned]:
        self.cold += 1
        yield Provisioned(instance=FakeInstance(name="cold"), image={}, tools={})

    def make_ready(
        self, requests: Sequence[MachineRequest], *, folder: Path, stop: Stop, log: OutputSink
    ) -> Sequence[Provisioned]:
        assert folder.is_dir()
        while not self.may_make.wait(0.02):
            stop.check()
        if self.failure is not None:
            raise self.failure
        self.batches.append([str(request.platform) for request in requests])
        made = [FakeInstance(name=request.name) for request in requests]
        self.exist |= {(request.task_id, 0): one for request, one in zip(requests, made, strict=True)}
        return [Provisioned(instance=one, image={}, tools={}) for one in made]

    def is_outdated(self, request: MachineRequest, made: Provisioned) -> bool:
        return request.name in self.outdated

    def remove(self, task_id: str, attempt: int) -> int:
        if self.away:
            raise ProvisionFailed(self.away)
        return int(self.exist.pop((task_id, attempt), None) is not None)


@pytest.fixture
def machines() -> BatchRunner:
    return BatchRunner()


@pytest.fixture
def make_pool(machines: BatchRunner, tmp_path: Path) -> Iterator[Callable[..., PooledRunner]]:
    made: list[PooledRunner] = []

    def make(*, size: int = 4, max_age: float = 60.0, room: int = 100) -> PooledRunner:
        stock = Stock(memory=60.0)
        settings = PoolSettings(size=size, max_age=max_age)
        refill = Refill(machines, stock, settings, folder=tmp_path / "pool", room=lambda: room)
        made.append(PooledRunner(machines, stock, refill))
        return made[-1]

    yield make
    machines.may_make.set()
    for pool in made:
        pool.close()
    assert not list(tmp_path.glob("pool/*"))


@pytest.fixture
def pool(make_pool: Callable[..., PooledRunner]) -> PooledRunner:
    return make_pool()


def use(pool: PooledRunner, platform: Platform = TWELVE) -> str:
    """Use a machine for a task. Return its name."""
    request = MachineRequest(platform, TASK_ID, 1, Path("/nonexistent"))
    with pool.make(request, stop=Stop(60), log=lambda text: None) as made:
        return made.instance.name


def test_the_first_task_gets_a_machine_of_its_own_and_the_next_one_that_waits(
    pool: PooledRunner, machines: BatchRunner
) -> None:
    assert use(pool) == "cold"
    until(lambda: pool._stock.waiting, seconds=SOON)
    [waiting] = machines.exist.values()

    assert use(pool) == waiting.name
    assert machines.cold == 1


def test_a_machine_is_used_once_and_removed(pool: PooledRunner, machines: BatchRunner) -> None:
    use(pool)
    names = []
    for _ in range(10):
        until(lambda: pool._stock.waiting, seconds=SOON)
        names.append(use(pool))

    assert len(set(names)) == 10
    assert machines.cold == 1
    until(lambda: not {f"alts-{task_id}-0" for task_id, _ in machines.exist} & set(names), seconds=SOON)


def test_more_requests_are_answered_by_larger_batches(pool: PooledRunner, machines: BatchRunner) -> None:
    machines.may_make.clear()
    for _ in range(8):
        use(pool)
    machines.may_make.set()

    until(lambda: sum(pool._stock.waiting.values()) == 4, seconds=SOON)
    # The first batch began after the first request.
    assert [len(batch) for batch in machines.batches] == [1, 3]


def test_an_empty_pool_is_not_waited_for(pool: PooledRunner, machines: BatchRunner) -> None:
    machines.may_make.clear()

    assert [use(pool), use(pool)] == ["cold", "cold"]


def test_each_platform_has_machines(pool: PooledRunner, machines: BatchRunner) -> None:
    for platform in (TWELVE, THIRTEEN):
        use(pool, platform)

    until(lambda: len(pool._stock.waiting) == 2, seconds=SOON)
    assert {platform for batch in machines.batches for platform in batch} == {str(TWELVE), str(THIRTEEN)}


def test_a_machine_that_died_while_it_waited_is_not_used(pool: PooledRunner, machines: BatchRunner) -> None:
    use(pool)
    until(lambda: pool._stock.waiting, seconds=SOON)
    [dead] = machines.exist.values()
    dead.kill()

    assert use(pool) != dead.name


def test_old_machines_are_replaced(make_pool: Callable[..., PooledRunner], machines: BatchRunner) -> None:
    pool = make_pool(max_age=0.3)
    use(pool)
    until(lambda: machines.exist, seconds=SOON)
    [first] = machines.exist

    until(lambda: first not in machines.exist and machines.exist, seconds=SOON)


def test_machines_of_a_replaced_image_are_replaced(pool: PooledRunner, machines: BatchRunner) -> None:
    use(pool)
    until(lambda: pool._stock.waiting, seconds=SOON)
    [first] = machines.exist.values()
    machines.outdated.add(first.name)
    pool._refill.wake()

    until(lambda: first not in machines.exist.values() and pool._stock.waiting, seconds=SOON)
    assert use(pool) not in (first.name, "cold")


def test_without_memory_there_is_no_pool(make_pool: Callable[..., PooledRunner], machines: BatchRunner) -> None:
    pool = make_pool(room=0)

    assert [use(pool), use(pool)] == ["cold", "cold"]
    time.sleep(0.1)
    assert machines.batches == []


def test_where_no_machine_can_be_made_ahead_tasks_go_on(pool: PooledRunner, machines: BatchRunner) -> None:
    machines.failure = ProvisionFailed("no machine today")
    assert use(pool) == "cold"
    until(lambda: not pool.held(), seconds=SOON)

    assert use(pool) == "cold"
    machines.failure = None
    until(lambda: pool._stock.waiting, seconds=SOON)


def test_every_machine_is_held_until_it_is_gone(pool: PooledRunner, machines: BatchRunner) -> None:
    use(pool)
    until(lambda: pool._stock.waiting, seconds=SOON)
    with pool.make(MachineRequest(TWELVE, TASK_ID, 1, Path("/nonexistent")), stop=Stop(60), log=lambda text: None):
        assert set(machines.exist) <= set(pool.held())


def test_a_machine_that_cannot_be_removed_is_left_to_the_reaper(pool: PooledRunner, machines: BatchRunner) -> None:
    use(pool)
    until(lambda: pool._stock.waiting, seconds=SOON)
    machines.away = "the engine is away"
    name = use(pool)

    until(lambda: name not in {f"alts-{task_id}-0" for task_id, _ in pool.held()}, seconds=SOON)
    assert name in {f"alts-{task_id}-0" for task_id, _ in machines.exist}


def test_at_the_end_nothing_is_left(make_pool: Callable[..., PooledRunner], machines: BatchRunner) -> None:
    pool = make_pool()
    for _ in range(4):
        use(pool)
    until(lambda: pool._stock.waiting, seconds=SOON)

    pool.close()

    assert machines.exist == {}
    assert pool.held() == frozenset()
    assert machines.closed


def test_a_batch_that_is_being_made_at_the_end_is_stopped(
    make_pool: Callable[..., PooledRunner], machines: BatchRunner
) -> None:
    machines.may_make.clear()
    pool = make_pool()
    use(pool)
    until(pool.held, seconds=SOON)

    pool.close()

    assert pool.held() == frozenset()
    assert machines.batches == []


def test_a_size_of_none_is_no_pool(machines: BatchRunner, tmp_path: Path) -> None:
    assert with_pool(machines, a_config(pool_size=0), folder=tmp_path) is machines
    assert isinstance(with_pool(machines, a_config(pool_size=None), folder=tmp_path), PooledRunner)
