"""The rules that must hold after a run, one or more for each promise of the service. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from alts.shared.models.report import Outcome
from scheduler.ledger.closing_report import STAGE as CLOSING_STAGE
from scheduler.ledger.event import Event
from tests.chaos.callers import Asked
from tests.chaos.evidence import Evidence, report_in, summary_in
from tests.chaos.journal import Entry, Step
from tests.chaos.ledger_file import LedgerTask
from tests.chaos.packages import PACKAGES


class Broken(StrEnum):
    """The promise that a violation breaks."""

    LOST = "lost"
    DOUBLED = "doubled"
    LEAKED = "leaked"
    WRONG = "wrong"
    UNTRIED = "untried"
    """No promise in particular: the run itself broke off and has proved nothing."""


@dataclass(frozen=True)
class Violation:
    """One broken promise."""

    broken: Broken
    what: str


def violations(evidence: Evidence) -> list[Violation]:
    """Return all violations of the promises."""
    return [
        *(Violation(Broken.LOST, what) for what in _lost(evidence)),
        *(Violation(Broken.DOUBLED, what) for what in _doubled(evidence)),
        *(Violation(Broken.LEAKED, what) for what in evidence.left),
        *(Violation(Broken.WRONG, what) for what in _wrong(evidence)),
    ]


def _lost(evidence: Evidence) -> Iterator[str]:
    known = {task.task_id for task in evidence.tasks}
    for asked in evidence.asked:
        if asked.task_id is not None and asked.task_id not in known:
            yield f"{asked.task_id} was accepted, and the ledger has never heard of it"
    for task in evidence.tasks:
        if task.state != "finished":
            yield f"{_name(task)} has not ended: {task.state}, {task.reason or 'no reason'}"
        elif task.outcome is None or task.report is None:
            yield f"{_name(task)} has ended without a report"


def _doubled(evidence: Evidence) -> Iterator[str]:
    yield from _asked_twice(evidence)
    starts = [entry for entry in evidence.executions if entry.step is Step.START]
    for (task_id, attempt), count in Counter((entry.task_id, entry.attempt) for entry in starts).items():
        if count > 1:
            yield f"attempt {attempt} of {task_id} was executed {count} times"
    used = Counter(entry.machine for entry in evidence.executions if entry.step is Step.TAKEN)
    yield from (f"the machine {name} was used {count} times" for name, count in used.items() if count > 1)
    for task in evidence.tasks:
        yield from (f"{_name(task)}: {what}" for what in _history_is_single(task))
    leases = {(task.task_id, attempt): held for task in evidence.tasks for attempt, held in _lapsed(task)}
    for before, after in _overlapping(evidence):
        what = f"attempt {after.attempt} of {after.task_id} began while attempt {before.attempt} was at work"
        held = leases.get((before.task_id, before.attempt))
        if held is None:
            yield f"{what}, and no lease had lapsed"
        # A worker that was frozen with its claim starts the attempt after the lease has lapsed.
        elif after.at - before.at < evidence.lease_seconds and not (
            evidence.times_are_true and held >= evidence.lease_seconds
        ):
            yield f"{what}, before a lease could lapse"


def _lapsed(task: LedgerTask) -> Iterator[tuple[int, float]]:
    """Yield the attempts whose lease has lapsed, with the seconds that each held it."""
    claimed = {one.attempt: one.at for one in task.history if one.event == Event.CLAIMED}
    for one in task.history:
        if one.event == Event.LOST:
            yield one.attempt, one.at - claimed.get(one.attempt, one.at)


def _history_is_single(task: LedgerTask) -> Iterator[str]:
    """Every attempt was claimed once, and the task ended once."""
    claims = Counter(one.attempt for one in task.history if one.event == Event.CLAIMED)
    for attempt in range(1, task.attempt + 1):
        if claims[attempt] != 1:
            yield f"attempt {attempt} was claimed {claims[attempt]} times"
    if (ends := sum(one.state == "finished" for one in task.history)) != 1:
        yield f"it has ended {ends} times"


def _asked_twice(evidence: Evidence) -> Iterator[str]:
    """One key gives one task."""
    for task_id, count in Counter(asked.task_id for asked in evidence.asked if asked.task_id).items():
        if count > 1:
            yield f"{count} requests with different keys were all given {task_id}"
    for asked in evidence.asked:
        if asked.again is not None and asked.again != asked.task_id:
            yield f"the same key was given {asked.task_id} and {asked.again}"
    accepted = {asked.task_id for asked in evidence.asked}
    for task in evidence.tasks:
        if task.task_id not in accepted:
            yield f"{_name(task)} is in the ledger, and nobody was told of it"


def _overlapping(evidence: Evidence) -> Iterator[tuple[Entry, Entry]]:
    """Yield starts of attempts of one task that began before the earlier attempt had ended."""
    ends = {(entry.task_id, entry.attempt): entry.at for entry in evidence.executions if entry.step is Step.END}
    latest: dict[str, Entry] = {}
    for entry in evidence.executions:
        if entry.step is not Step.START:
            continue
        before = latest.get(entry.task_id)
        latest[entry.task_id] = entry
        if before is not None:
            ended = ends.get((before.task_id, before.attempt), evidence.killed.get(before.pid, entry.at))
            if entry.at < ended:
                yield before, entry


def _wrong(evidence: Evidence) -> Iterator[str]:
    yield from evidence.trouble
    asked_by_id = {asked.task_id: asked for asked in evidence.asked}
    for asked in evidence.asked:
        yield from (f"{asked.submission.package.name}: {trouble}" for trouble in asked.trouble)
    for task in evidence.tasks:
        if task.report is None or task.outcome is None:
            continue
        for rule in (_outcome_is_true, _report_is_its_own, _store_agrees, _summary_agrees, _attempts_are_bounded):
            yield from (f"{_name(task)}: {what}" for what in rule(task, asked_by_id.get(task.task_id), evidence))


Rule = Callable[[LedgerTask, Asked | None, Evidence], Iterator[str]]


def _outcome_is_true(task: LedgerTask, asked: Asked | None, _: Evidence) -> Iterator[str]:
    truth = {PACKAGES[task.package].truth.value}
    if task.cancel_requested:
        truth.add(Outcome.CANCELLED)
    if asked is not None and asked.cancel_status == 200:
        truth = {Outcome.CANCELLED.value}
    if task.outcome not in truth:
        yield f"outcome {task.outcome}, and the truth is {' or '.join(sorted(truth))} ({task.reason})"


def _report_is_its_own(task: LedgerTask, _asked: Asked | None, evidence: Evidence) -> Iterator[str]:
    """The report is of the last attempt, and of that attempt's machine."""
    report = _report(task)
    for field, expected in (("task_id", task.task_id), ("attempt", task.attempt), ("outcome", task.outcome)):
        if report[field] != expected:
            yield f"the report says {field} {report[field]}, the ledger {expected}"
    machine = report.get("image", {}).get("id")
    if machine is None or report["image"].get("reference") != "stub":
        return
    mine = [entry for entry in evidence.executions if entry.machine == machine]
    if not any((entry.task_id, entry.attempt) == (task.task_id, task.attempt) for entry in mine):
        yield f"the report is of a machine that attempt {task.attempt} never had"
    if any(entry.step is Step.ROBBED for entry in mine):
        yield "somebody removed the machine of the attempt that counted"


def _store_agrees(task: LedgerTask, _: Asked | None, evidence: Evidence) -> Iterator[str]:
    """The store has the worker's report, with every log that it names."""
    report = _report(task)
    if any(stage["stage"] == CLOSING_STAGE for stage in report["stages"]):
        return
    stored = report_in(evidence.objects, task.task_id, task.attempt)
    if stored is None:
        yield "the store has no report of the attempt that counted"
        return
    overruled = task.outcome == Outcome.CANCELLED and stored["outcome"] == Outcome.ERRORED
    ignored = {"artifacts", *(("outcome", "reason", "retryable") if overruled else ())}
    different = [key for key in report if key not in ignored and report[key] != stored.get(key)]
    if different:
        yield f"the store's report differs from the ledger's in {', '.join(different)}"
    for stage in report["stages"]:
        key = (stage["log"] or "").partition("://")[2].partition("/")[2]
        if stage["outcome"] != Outcome.SKIPPED and key not in evidence.objects:
            yield f"the log of {stage['stage']} is not in the store"


def _summary_agrees(task: LedgerTask, _: Asked | None, evidence: Evidence) -> Iterator[str]:
    """Celery's record, if there is one, agrees with the ledger."""
    summary = summary_in(evidence.objects, task.task_id)
    if summary is None:
        return
    result = summary["result"] if isinstance(summary["result"], dict) else {}
    said = summary["status"], result.get("outcome"), result.get("attempt")
    if said != ("SUCCESS", task.outcome, task.attempt):
        yield f"Celery's summary says {said}"


def _attempts_are_bounded(task: LedgerTask, _: Asked | None, evidence: Evidence) -> Iterator[str]:
    if task.attempt - task.released > evidence.max_attempts:
        yield f"{task.attempt} attempts, of which {task.released} were handed back"


def _report(task: LedgerTask) -> Mapping[str, Any]:
    return task.report or {}


def _name(task: LedgerTask) -> str:
    return f"{task.package} {task.task_id}"


def store_is_complete(tasks: Iterable[LedgerTask], objects: Mapping[str, bytes]) -> bool:
    """Whether the store has everything that the ledger's reports promise. It may arrive after the report."""
    evidence = Evidence(asked=(), tasks=(), executions=(), objects=objects, max_attempts=0, lease_seconds=0)
    return not any(what for task in tasks if task.report for what in _store_agrees(task, None, evidence))
