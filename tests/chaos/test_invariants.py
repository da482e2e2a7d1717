"""The checker must report every broken promise of a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from alts.shared.models.report import Outcome
from tests.chaos.callers import Asked
from tests.chaos.evidence import Evidence
from tests.chaos.invariants import Broken, violations
from tests.chaos.journal import Entry, Step
from tests.chaos.ledger_file import LedgerTask, Transition
from tests.chaos.packages import ENDLESS, GOOD, Package
from tests.chaos.plan import Submission
from tests.support.builders import a_report

ID = "00000000-0000-4000-8000-000000000001"
LOG = f"artifacts/{ID}/1/install.log"
MACHINE = "m1"
WORKER_PID = 7
HISTORY = [
    Transition(event="accepted", state="accepted", attempt=0),
    Transition(event="claimed", state="running", attempt=1),
]
ENDED = Transition(event="reported", state="finished", attempt=1)
LOST = Transition(event="lost", state="accepted", attempt=1)
CLAIMED_AGAIN = Transition(event="claimed", state="running", attempt=2)


def good_run(package: Package = GOOD, **changes: Any) -> Evidence:
    """Evidence of one task, executed once, without a violation."""
    report = json.loads(a_report(task_id=ID, image={"reference": "stub", "id": MACHINE}).to_json())
    report["stages"][0]["log"] = f"s3://bucket/{LOG}"
    summary = {"status": "SUCCESS", "result": {"outcome": "passed", "attempt": 1}}
    asked = Asked(Submission(0.0, package), key="k", task_id=ID)
    fields: dict[str, Any] = {
        "asked": [asked],
        "tasks": [a_task(package=package.name, report=report)],
        "executions": [an_entry(Step.START, at=1.0), an_entry(Step.END, at=2.0)],
        "objects": {
            f"artifacts/{ID}/1/report.json": json.dumps(report).encode(),
            LOG: b"",
            f"results/celery-task-meta-{ID}": json.dumps(summary).encode(),
        },
        "max_attempts": 3,
        "lease_seconds": 2.0,
        **changes,
    }
    return Evidence(**fields)


def a_task(**changes: Any) -> LedgerTask:
    fields: dict[str, Any] = {
        "task_id": ID,
        "package": GOOD.name,
        "state": "finished",
        "outcome": "passed",
        "reason": "",
        "attempt": 1,
        "released": 0,
        "cancel_requested": False,
        "report": {},
        "history": [*HISTORY, ENDED],
        **changes,
    }
    return LedgerTask(**fields)


def an_entry(step: Step, *, at: float, attempt: int = 1, machine: str = MACHINE, pid: int = WORKER_PID) -> Entry:
    return Entry(step=step, task_id=ID, attempt=attempt, pid=pid, worker="worker-1", machine=machine, at=at)


def task_changed(**changes: Any) -> Callable[[Evidence], Evidence]:
    return lambda run: replace(run, tasks=[replace(run.tasks[0], **changes)])


def report_changed(**changes: Any) -> Callable[[Evidence], Evidence]:
    def change(run: Evidence) -> Evidence:
        [task] = run.tasks
        return replace(run, tasks=[replace(task, report={**(task.report or {}), **changes})])

    return change


def without(*keys: str) -> Callable[[Evidence], Evidence]:
    return lambda run: replace(run, objects={key: run.objects[key] for key in run.objects if key not in keys})


def with_entries(*entries: Entry) -> Callable[[Evidence], Evidence]:
    return lambda run: replace(run, executions=[*run.executions, *entries])


def asked_changed(**changes: Any) -> Callable[[Evidence], Evidence]:
    return lambda run: replace(run, asked=[replace(run.asked[0], **changes)])


BREAKS: dict[str, tuple[Broken, Callable[[Evidence], Evidence]]] = {
    "unknown to the ledger": (Broken.LOST, lambda run: replace(run, tasks=[])),
    "never ended": (Broken.LOST, task_changed(state="running", outcome=None, report=None)),
    "no report": (Broken.LOST, task_changed(report=None)),
    "executed twice": (Broken.DOUBLED, with_entries(an_entry(Step.START, at=9.0))),
    "a machine used twice": (
        Broken.DOUBLED,
        with_entries(an_entry(Step.TAKEN, at=1.1, machine="a"), an_entry(Step.TAKEN, at=1.2, machine="a")),
    ),
    "claimed twice": (Broken.DOUBLED, task_changed(history=[*HISTORY, HISTORY[-1], ENDED])),
    "never claimed": (Broken.DOUBLED, task_changed(history=[HISTORY[0], ENDED])),
    "ended twice": (Broken.DOUBLED, task_changed(history=[*HISTORY, ENDED, ENDED])),
    "two attempts at once": (Broken.DOUBLED, with_entries(an_entry(Step.START, at=1.5, attempt=2, machine="m2"))),
    "too many attempts": (Broken.WRONG, task_changed(attempt=4)),
    "another outcome": (Broken.WRONG, task_changed(outcome="failed")),
    "cancelled by nobody": (Broken.WRONG, task_changed(outcome="cancelled")),
    "not cancelled": (Broken.WRONG, asked_changed(cancel_status=200)),
    "a stale attempt's report": (Broken.WRONG, report_changed(attempt=0)),
    "another machine's report": (Broken.WRONG, report_changed(image={"reference": "stub", "id": "m9"})),
    "another report in the store": (Broken.WRONG, report_changed(worker="somebody")),
    "no report in the store": (Broken.WRONG, without(f"artifacts/{ID}/1/report.json")),
    "no log in the store": (Broken.WRONG, without(LOG)),
    "a machine that was robbed": (Broken.WRONG, with_entries(an_entry(Step.ROBBED, at=1.5))),
    "another summary": (
        Broken.WRONG,
        lambda run: replace(
            run,
            objects={
                **run.objects,
                f"results/celery-task-meta-{ID}": b'{"status": "SUCCESS", "result": {"outcome": "failed"}}',
            },
        ),
    ),
    "something left": (Broken.LEAKED, lambda run: replace(run, left=["container x"])),
    "a worker that did not drain": (Broken.WRONG, lambda run: replace(run, trouble=["worker-1 did not drain"])),
    "a caller that got no answer": (Broken.WRONG, asked_changed(trouble=["expected 201"])),
}


def test_a_run_in_which_all_went_well_breaks_no_promise() -> None:
    assert violations(good_run()) == []


@pytest.mark.parametrize(("broken", "change"), BREAKS.values(), ids=[name.replace(" ", "-") for name in BREAKS])
def test_a_broken_promise_is_seen(broken: Broken, change: Callable[[Evidence], Evidence]) -> None:
    found = violations(change(good_run()))

    assert broken in {violation.broken for violation in found}, found


def test_an_attempt_may_begin_while_a_lapsed_one_is_still_at_work() -> None:
    run = good_run(
        executions=[
            an_entry(Step.START, at=1.0),
            an_entry(Step.START, at=4.0, attempt=2, machine="m2"),
            an_entry(Step.END, at=5.0),
        ]
    )
    lapsed = task_changed(attempt=2, history=[*HISTORY, LOST, CLAIMED_AGAIN, ENDED])

    assert [violation for violation in violations(run) if "no lease had lapsed" in violation.what]
    run = lapsed(run)
    assert not [violation for violation in violations(run) if violation.broken is Broken.DOUBLED]


def test_an_attempt_may_begin_as_soon_as_the_worker_of_the_last_one_is_dead() -> None:
    run = good_run(
        executions=[an_entry(Step.START, at=1.0), an_entry(Step.START, at=1.5, attempt=2, machine="m2", pid=8)],
        killed={WORKER_PID: 1.2},
    )

    assert not [violation for violation in violations(run) if violation.broken is Broken.DOUBLED]


def test_an_endless_task_is_true_when_it_is_cancelled() -> None:
    run = report_changed(outcome="cancelled")(good_run(ENDLESS, objects={}))
    ended = replace(run, tasks=[replace(run.tasks[0], outcome=Outcome.CANCELLED.value, cancel_requested=True)])

    assert not [violation for violation in violations(ended) if "outcome" in violation.what]


@pytest.mark.parametrize(
    ("held", "times_are_true", "allowed"),
    [(2.5, True, True), (0.5, True, False), (7200.0, False, False)],
    ids=["lapsed", "too early", "the clock has jumped"],
)
def test_a_lease_may_lapse_before_its_frozen_worker_begins(held: float, times_are_true: bool, allowed: bool) -> None:
    claimed, lost = replace(HISTORY[-1], at=10.0), replace(LOST, at=10.0 + held)
    executions = [
        an_entry(Step.START, at=3.0),
        an_entry(Step.START, at=4.0, attempt=2, machine="m2"),
        an_entry(Step.END, at=5.0),
    ]
    run = task_changed(attempt=2, history=[*HISTORY[:-1], claimed, lost, CLAIMED_AGAIN, ENDED])(
        good_run(executions=executions, times_are_true=times_are_true)
    )

    found = [violation for violation in violations(run) if "before a lease could lapse" in violation.what]

    assert bool(found) is not allowed
