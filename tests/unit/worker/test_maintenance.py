"""A worker says whether it takes tasks, leaves the queue alone when it does not, and tidies up."""

from __future__ import annotations

from pathlib import Path

import pytest

from alts.package_managers.registry import PACKAGE_MANAGERS
from alts.pipeline.plans import PLANS
from alts.runners.base import Machine
from alts.shared.errors import LedgerUnavailable
from alts.shared.models.ledger import TaskState
from alts.worker.celery_task import run_task
from alts.worker.executor import Executor
from alts.worker.maintenance import Upkeep
from alts.worker.readiness import Readiness
from alts.worker.work_folder import WorkFolder
from alts.worker.worker import Worker
from tests.support.builders import a_config, a_report, a_spec
from tests.support.fakes import FakeLedger, FakeRunner, FakeStore

QUEUES = ("docker-x86_64-0",)


class Scene:
    """A worker on fakes and its upkeep, with a clock of its own."""

    def __init__(self, folder: Path) -> None:
        self.now = 0.0
        self.ledger = FakeLedger(clock=lambda: self.now)
        self.runner = FakeRunner()
        self.consumed: list[bool] = []
        executor = Executor(
            runner=self.runner,
            plans=PLANS,
            packages=PACKAGE_MANAGERS,
            artifacts=FakeStore(),
            artifacts_root="artifacts",
            worker="worker-1",
        )
        self.worker = Worker(
            config=a_config(worker_name="worker-1"),
            ledger=self.ledger,
            folder=WorkFolder(folder),
            executors={"docker": executor},
            readiness=Readiness((self.runner.trouble,), max_age=0.0, clock=lambda: self.now),
        )
        self.upkeep = Upkeep(self.worker, queues=QUEUES, consume=self.consumed.append, clock=lambda: self.now)

    def look(self, *, after: float = 2.0) -> tuple[bool, str]:
        """What the ledger knows of the worker after another look."""
        self.now += after
        self.upkeep.look()
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

    assert scene.consumed == [False, True]


def test_presence_is_said_again_before_it_is_forgotten_but_not_with_every_look(scene: Scene) -> None:
    said = []
    for _ in range(15):
        scene.look()
        said.append(scene.ledger.announced["worker-1"][3])

    assert len(set(said)) == 3, "at the first look, and then every ten seconds"
    assert all(now - heard < 30 for now, heard in zip(range(2, 32, 2), said, strict=True))


def test_an_announcement_that_was_not_heard_is_said_again(scene: Scene) -> None:
    scene.ledger.away = True
    with pytest.raises(LedgerUnavailable):
        scene.look()
    scene.ledger.away = False

    assert scene.look(after=0.1) == (True, "")


def test_a_worker_that_ends_says_so(scene: Scene) -> None:
    scene.worker.stop_claiming()

    assert scene.look() == (False, "this worker is ending")


def test_without_an_engine_an_invitation_is_declined_and_costs_no_attempt(scene: Scene) -> None:
    task_id = scene.ledger.add(a_spec())
    scene.runner.away = "the engine is away"
    scene.now = 10.0

    assert run_task(scene.worker, task_id) is None
    task = scene.ledger.get(task_id)
    assert (task.state, task.attempt) == (TaskState.ACCEPTED, 0)
    assert task.due_at > scene.now

    scene.runner.away = ""
    scene.now = task.due_at + 1.0
    assert run_task(scene.worker, task_id) is not None
    assert scene.ledger.get(task_id).attempt == 1


def test_declining_to_a_ledger_that_is_away_does_no_harm(scene: Scene) -> None:
    scene.runner.away = "the engine is away"
    scene.ledger.away = True

    assert run_task(scene.worker, "any") is None


def test_the_reaper_removes_what_is_over_and_nothing_else(scene: Scene) -> None:
    own = scene.worker.folder.identity
    over, running = scene.ledger.add(a_spec()), scene.ledger.add(a_spec())
    scene.ledger.claim(running, worker="somebody")
    scene.ledger.claim(over, worker="somebody")
    scene.ledger.report(over, 1, a_report(task_id=over))
    stays = [Machine("elsewhere", running, 1), Machine("of another installation", "unknown-here", 1)]
    scene.runner.present = [*stays, Machine("elsewhere", over, 1), Machine(own, "an-end-that-failed", 3)]
    (scene.worker.folder.path / "tasks" / "an-end-that-failed-3").mkdir(parents=True)

    scene.upkeep.reap()

    assert scene.runner.present == stays
    assert not list(scene.worker.folder.path.glob("tasks/*"))


def test_the_reaper_does_without_the_ledger_what_needs_none(scene: Scene) -> None:
    scene.ledger.away = True
    strange = Machine("elsewhere", "t", 1)
    scene.runner.present = [strange, Machine(scene.worker.folder.identity, "an-end-that-failed", 3)]

    scene.upkeep.reap()

    assert scene.runner.present == [strange]


def test_an_engine_that_is_away_is_reaped_when_it_is_back(scene: Scene) -> None:
    scene.runner.present = [Machine(scene.worker.folder.identity, "t", 1)]
    scene.runner.away = "the engine is away"
    scene.upkeep.reap()
    assert scene.runner.present

    scene.runner.away = ""
    scene.upkeep.reap()
    assert not scene.runner.present
