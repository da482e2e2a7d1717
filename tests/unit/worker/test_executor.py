"""One attempt: machine, plan, logs, report."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from alts.core.stop import Stop, Stopped, StopReason
from alts.package_managers.registry import PACKAGE_MANAGERS
from alts.pipeline.plans import PLANS, STANDARD
from alts.shared.errors import ProvisionFailed
from alts.shared.models.report import REPORT, STATE, Outcome
from alts.worker.executor import Executor
from tests.support.builders import TASK_ID, an_order
from tests.support.fakes import FakeDebian, FakeInstance, FakeRunner, FakeSpool

NOW = datetime(2030, 1, 1, tzinfo=UTC)
FORMS = ("state.json", "report.junit.xml", "report.tap", "report.json")
"""The objects stored after the logs, in order. A reader who sees report.json finds all the rest."""


def an_executor(runner: FakeRunner, store: FakeSpool) -> Executor:
    return Executor(
        runner=runner,
        plans=PLANS,
        packages=PACKAGE_MANAGERS,
        artifacts=store,
        artifacts_root="artifacts",
        worker="worker-1",
        repository_max_age=60.0,
        now=lambda: NOW,
    )


def test_a_passed_task_leaves_a_log_for_every_stage_and_the_report(tmp_path: Path) -> None:
    runner, store = FakeRunner(), FakeSpool()

    report = an_executor(runner, store).execute(an_order(tmp_path), stop=Stop(60), show=lambda stages: None)

    assert report.outcome is Outcome.PASSED
    assert report.package["version"] == "2.10-3"
    assert report.tools["terraform"] == "1.11.4"
    assert runner.machines_up == 0
    folder = f"artifacts/{TASK_ID}/1"
    assert list(store.content) == [
        f"{folder}/{name}" for name in (*(f"{stage.name}.log" for stage in STANDARD), *FORMS)
    ]
    assert REPORT.validate_json(store.content[f"{folder}/report.json"]) == report
    assert [stage.log for stage in report.stages] == [f"memory://{folder}/{stage.name}.log" for stage in STANDARD]


def test_the_report_tells_in_short_what_changed_and_an_artifact_in_full(tmp_path: Path) -> None:
    debian, store = FakeDebian(), FakeSpool()
    debian.litter["hello"] = ("/var/log/hello.log",)
    runner = FakeRunner([FakeInstance(debian.programs)])

    report = an_executor(runner, store).execute(an_order(tmp_path), stop=Stop(60), show=lambda stages: None)

    assert [(change.since, change.until) for change in report.state] == [
        ("before", "installed"),
        ("installed", "removed"),
        ("removed", "purged"),
    ]
    assert report.state[0].files.added == ("/var/log/hello.log",)
    assert report.state[0].packages.added == ("hello 2.10-3",)
    whole = STATE.validate_json(store.content[f"artifacts/{TASK_ID}/1/state.json"])
    assert whole[0].files.added == ("/var/log/hello.log: -rw-r--r-- 0:0 1",)


@pytest.mark.parametrize(
    ("age", "refresh", "used"),
    [(30, False, True), (60, False, True), (61, False, False), (-1, False, False), (30, True, False)],
    ids=["recent", "just recent", "too old", "from the future", "not wanted"],
)
def test_the_report_says_when_lists_were_fetched_and_recent_ones_are_used(
    tmp_path: Path, age: int, *, refresh: bool, used: bool
) -> None:
    fetched_at = NOW - timedelta(seconds=age)
    runner = FakeRunner(lists_fetched_at=fetched_at)

    report = an_executor(runner, FakeSpool()).execute(
        an_order(tmp_path, refresh=refresh), stop=Stop(60), show=lambda stages: None
    )

    assert report.indexes == {"distribution": (fetched_at if used else NOW).isoformat()}


def test_a_machine_that_dies_during_install_does_not_blame_the_package(tmp_path: Path) -> None:
    runner = FakeRunner([FakeInstance(FakeDebian().programs, dies_at="install")])

    report = an_executor(runner, FakeSpool()).execute(an_order(tmp_path), stop=Stop(60), show=lambda stages: None)

    assert report.outcome is Outcome.ERRORED
    assert report.retryable
    assert report.reason == "install: fake-1 is gone"
    assert runner.machines_up == 0


@pytest.mark.parametrize("retryable", [True, False])
def test_the_cause_says_whether_another_attempt_may_help(tmp_path: Path, *, retryable: bool) -> None:
    runner = FakeRunner(failure=ProvisionFailed("terraform apply failed", retryable=retryable))

    report = an_executor(runner, FakeSpool()).execute(an_order(tmp_path), stop=Stop(60), show=lambda stages: None)

    assert report.outcome is Outcome.ERRORED
    assert report.retryable is retryable


def test_a_failed_package_is_never_retryable(tmp_path: Path) -> None:
    runner = FakeRunner([FakeInstance(FakeDebian({}).programs)])

    report = an_executor(runner, FakeSpool()).execute(an_order(tmp_path), stop=Stop(60), show=lambda stages: None)

    assert report.outcome is Outcome.FAILED
    assert not report.retryable
    assert report.reason == "install: no repository of this machine has a package named hello"


def test_a_store_without_room_leaves_the_verdict_alone(tmp_path: Path) -> None:
    report = an_executor(FakeRunner(), FakeSpool(refusals=1000)).execute(
        an_order(tmp_path), stop=Stop(60), show=lambda stages: None
    )

    assert report.outcome is Outcome.PASSED
    assert report.artifacts is None
    assert not any(stage.log for stage in report.stages)


def test_a_lost_lease_ends_without_a_report_and_without_a_machine(tmp_path: Path) -> None:
    runner, store, stop = FakeRunner(), FakeSpool(), Stop(60)

    with pytest.raises(Stopped):
        an_executor(runner, store).execute(
            an_order(tmp_path), stop=stop, show=lambda stages: stop.request(StopReason.LEASE_LOST)
        )

    assert runner.machines_up == 0
    assert not [key for key in store.content if key.endswith("report.json")]


def test_a_cancelled_task_says_so(tmp_path: Path) -> None:
    stop = Stop(60)

    report = an_executor(FakeRunner(), FakeSpool()).execute(
        an_order(tmp_path), stop=stop, show=lambda stages: stop.request(StopReason.CANCELLED)
    )

    assert report.outcome is Outcome.CANCELLED
