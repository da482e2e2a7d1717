"""Tasks that wait although a worker is free."""

from __future__ import annotations

import pytest

from alts.shared.errors import InfrastructureError
from scheduler.background.stuck_tasks import StuckTasks
from scheduler.ledger.presence import Presence
from scheduler.ledger.queue import Waiting
from tests.support.scheduler_parts import QUEUE, HandClock


class Farm:
    """Queued tasks and workers, as the ledger lists them."""

    def __init__(self) -> None:
        self.queued = [Waiting("task-1", QUEUE)]
        self.free: int | None = 1
        self.ready = True
        self.listens_on: tuple[str, ...] = (QUEUE,)

    def longest_queued(self, *, limit: int) -> tuple[Waiting, ...]:
        return tuple(self.queued[:limit])

    def present(self) -> tuple[Presence, ...]:
        return (Presence("worker-1", self.ready, "", self.listens_on, 0.0, self.free),)


def watched(farm: Farm, clock: HandClock) -> StuckTasks:
    return StuckTasks(farm, farm, interval=5.0, patience=30.0, clock=clock)


def steps(watch: StuckTasks, clock: HandClock, *, seconds: float) -> None:
    for _ in range(int(seconds / 5)):
        clock.pass_by(watch.step())


def test_a_task_that_waits_beside_a_free_worker_is_told_of_and_forgotten_once_it_runs() -> None:
    farm, clock = Farm(), HandClock()
    watch = watched(farm, clock)

    steps(watch, clock, seconds=30)
    watch.check()
    steps(watch, clock, seconds=10)
    with pytest.raises(InfrastructureError, match=r"1 tasks have waited for over 30 s .* task-1"):
        watch.check()

    farm.queued = []
    steps(watch, clock, seconds=5)
    watch.check()


@pytest.mark.parametrize(
    ("free", "ready", "listens_on"),
    [(0, True, (QUEUE,)), (None, True, (QUEUE,)), (1, False, (QUEUE,)), (1, True, ("other",))],
    ids=["busy", "has not said", "takes none", "listens elsewhere"],
)
def test_a_task_may_wait_for_as_long_as_no_worker_could_take_it(
    free: int | None, *, ready: bool, listens_on: tuple[str, ...]
) -> None:
    farm, clock = Farm(), HandClock()
    farm.free, farm.ready, farm.listens_on = free, ready, listens_on
    watch = watched(farm, clock)

    steps(watch, clock, seconds=300)

    watch.check()


def test_a_queue_that_moves_is_well_however_long_it_is() -> None:
    farm, clock = Farm(), HandClock()
    watch = watched(farm, clock)

    for number in range(60):
        farm.queued = [Waiting(f"task-{number // 5 + later}", QUEUE) for later in range(1)]
        steps(watch, clock, seconds=5)
        watch.check()


def test_a_worker_that_is_free_for_a_moment_only_begins_the_wait_anew() -> None:
    farm, clock = Farm(), HandClock()
    watch = watched(farm, clock)

    for _ in range(20):
        farm.free = 1
        steps(watch, clock, seconds=15)
        farm.free = 0
        steps(watch, clock, seconds=5)
        watch.check()


def test_after_a_gap_the_wait_begins_anew() -> None:
    farm, clock = Farm(), HandClock()
    watch = watched(farm, clock)
    watch.step()

    clock.pass_by(3600)
    watch.step()

    watch.check()
