"""A worker says whether it takes tasks, and leaves the queue alone when it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from alts.shared.errors import LedgerUnavailable
from alts.shared.models.ledger import TaskState
from alts.worker.consumer import Consuming
from alts.worker.presence import Presence
from tests.support.builders import a_spec
from tests.support.fakes import FakeLedger
from tests.support.worker_bench import WorkerBench

QUEUES = ("docker-x86_64-0",)


class FakeConsuming(Consuming):
    """Records what is wanted, for a Celery worker with four slots."""

    def __init__(self) -> None:
        super().__init__(QUEUES)
        self.wanted: list[bool] = []

    @property
    def slots(self) -> int:
        return 4

    def want(self, wanted: bool) -> None:
        self.wanted.append(wanted)


class Scene:
    """A worker on fakes and its presence, with a clock of its own."""

    def __init__(self, folder: Path) -> None:
        self.now = 0.0
        self.ledger = FakeLedger(clock=lambda: self.now)
        self.bench = WorkerBench(folder, ledger=self.ledger)
        self.runner = self.bench.runner
        self.consuming = FakeConsuming()
        self.presence = Presence(self.bench.worker, self.ledger, self.consuming, clock=lambda: self.now)

    def look(self, *, after: float = 2.0) -> tuple[bool, str]:
        """What the ledger knows of the worker after another look."""
        self.now += after
        self.presence.look()
        ready, reason, queues, _ = self.ledger.announced["worker-1"]
        assert queues == QUEUES
        return ready, reason


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_an_engine_that_is_away_is_announced_at_once_and_so_is_its_return(scene: Scene) -> None:
    assert scene.look() == (True, "")
    scene.runner.away = "the engine is away"
    assert scene.look() == (False, "the engine is away")
    scene.runner.away = ""
    assert scene.look() == (True, "")

    assert scene.consuming.wanted == [False, True]


def test_presence_is_said_again_before_it_is_forgotten_but_not_with_every_look(scene: Scene) -> None:
    said = []
    for _ in range(15):
        scene.look()
        said.append(scene.ledger.announced["worker-1"][3])

    assert len(set(said)) == 3, "at the first look, and then every ten seconds"
    assert all(now - heard < 30 for now, heard in zip(range(2, 32, 2), said, strict=True))


def test_the_free_slots_are_announced(scene: Scene) -> None:
    with scene.bench.running.add(("t", 1), seconds=60):
        scene.look()

    assert scene.ledger.free["worker-1"] == 3


def test_an_announcement_that_was_not_heard_is_said_again(scene: Scene) -> None:
    scene.ledger.away = True
    with pytest.raises(LedgerUnavailable):
        scene.look()
    scene.ledger.away = False

    assert scene.look(after=0.1) == (True, "")


def test_a_worker_that_ends_says_so(scene: Scene) -> None:
    scene.bench.worker.stop_claiming()

    assert scene.look() == (False, "this worker is shutting down")


def test_without_an_engine_an_invitation_is_declined_and_costs_no_attempt(scene: Scene) -> None:
    task_id = scene.ledger.add(a_spec())
    scene.runner.away = "the engine is away"
    scene.now = 10.0

    assert scene.bench.run(task_id) is None
    task = scene.ledger.get(task_id)
    assert (task.state, task.attempt) == (TaskState.ACCEPTED, 0)
    assert task.due_at > scene.now

    scene.runner.away = ""
    scene.now = task.due_at + 1.0
    assert scene.bench.run(task_id) is not None
    assert scene.ledger.get(task_id).attempt == 1


def test_declining_to_a_ledger_that_is_away_does_no_harm(scene: Scene) -> None:
    scene.runner.away = "the engine is away"
    scene.ledger.away = True

    assert scene.bench.run("any") is None
