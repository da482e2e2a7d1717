"""A report arrives, whatever names and outputs its package has."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import TypeAdapter

from alts.checks.leftovers.find import shown
from alts.checks.state.difference import brief_changes
from alts.checks.state.snapshot import FileState, Process, Snapshot
from alts.shared.bounds import MOST_VALUES
from alts.shared.models.report import MOST_STEPS, REPORT, Finding, Kind, Outcome, Report, Severity, StageResult, Step
from alts.worker.report_size import fitted, fitted_stages
from scheduler.api.middleware.body_limit import WORKER_LIMIT
from scheduler.api.routes.workers import Heartbeat
from scheduler.api.strict_json import read_json

# JSON has six characters for it.
WORST = "\x01"
KINDS = (
    Kind.MISSING_FILE, Kind.MODIFIED_FILE, Kind.BROKEN_SYMLINK, Kind.MISSING_LIBRARY, Kind.BAD_RPATH,
    Kind.LEFTOVER_FILE, Kind.LEFTOVER_USER, Kind.PROCESS_LEFT_RUNNING,
)  # fmt: skip


def test_a_finding_is_cut_in_the_middle() -> None:
    finding = Finding(kind=Kind.BAD_RPATH, message="m" * 5000 + "end", evidence="e" * 1_000_000 + "end")

    assert (finding.message[:3], finding.message[-3:]) == ("mmm", "end")
    assert (finding.evidence[:3], finding.evidence[-3:]) == ("eee", "end")
    assert len(finding.message) <= 1000
    assert len(finding.evidence) <= 4000


def test_what_is_short_enough_stays() -> None:
    finding = Finding(kind=Kind.BAD_RPATH, message="m" * 1000, evidence="e" * 4000)

    assert (finding.message, finding.evidence) == ("m" * 1000, "e" * 4000)


def the_worst_report() -> Report:
    findings = [
        Finding(kind=kind, severity=severity, message=WORST * 5000 + str(number), evidence=WORST * 5000)
        for kind in KINDS
        for severity in (Severity.ERROR, Severity.WARNING)
        for number in range(100)
    ]
    state = FileState("f", 0o644, 0, 0, 1, 1, "")
    full = Snapshot(
        files={f"/etc/{WORST * 200}/{WORST * 3000}{number}": state for number in range(100)},
        users={WORST * 1000 + str(number): "" for number in range(100)},
        groups={WORST * 1000 + str(number): "" for number in range(100)},
        processes=tuple(Process(number, 1, WORST * 100_000 + str(number)) for number in range(100)),
        listening=frozenset(f"unix {WORST * 100}{number}" for number in range(100)),
    )
    moments = {"before": Snapshot(), "installed": full, "removed": Snapshot(), "purged": full}

    return Report(
        task_id="t",
        attempt=1,
        outcome=Outcome.FAILED,
        reason=findings[0].message,
        stages=(StageResult(stage="integrity", outcome=Outcome.FAILED, findings=shown(findings)),),
        state=brief_changes(moments),
        started_at=datetime.now(UTC),
    )


def read_by_the_scheduler(body: object) -> object:
    content = json.dumps(body, ensure_ascii=False).encode()
    assert len(content) <= WORKER_LIMIT
    return read_json(content, most_values=MOST_VALUES)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"closure": tuple(f"{WORST * 500}{number} 1.0" for number in range(60_000))},
        {"closure": tuple(f"x{number} 1" for number in range(60_000))},
        {"package": {"version": WORST * 4_000_000}},
    ],
    ids=["files and findings", "long closure", "many packages", "long version"],
)
def test_the_worst_report_is_one_that_the_scheduler_takes(changes: dict[str, Any]) -> None:
    worst = replace(the_worst_report(), **changes)

    report = fitted(replace(worst, stages=worst.stages * 14))

    taken = REPORT.validate_python(read_by_the_scheduler(REPORT.dump_python(report, mode="json")))
    assert taken == report
    assert [stage.outcome for stage in taken.stages] == [Outcome.FAILED] * 14
    assert {finding.kind for finding in taken.stages[0].findings} == set(KINDS)


def test_so_are_its_stages_while_it_is_under_way() -> None:
    stages = fitted_stages(the_worst_report().stages * 14)

    taken = read_by_the_scheduler({"progress": TypeAdapter(tuple[StageResult, ...]).dump_python(stages, mode="json")})

    assert TypeAdapter(Heartbeat).validate_python(taken).progress == stages


def test_a_report_that_fits_stays_as_it_is() -> None:
    report = replace(the_worst_report(), state=(), closure=tuple(f"package-{number} 1.2-3" for number in range(4000)))
    report = replace(report, reason="", stages=(StageResult(stage="install", outcome=Outcome.PASSED),))

    assert fitted(report) is report
    assert fitted_stages(report.stages) == report.stages


def test_a_report_that_is_too_large_has_no_steps() -> None:
    steps = tuple(Step(name="apt-get update", at=1.0, seconds=2.0) for _ in range(MOST_STEPS))
    worst = the_worst_report()
    report = replace(worst, stages=tuple(replace(stage, steps=steps) for stage in worst.stages))

    assert not any(stage.steps for stage in fitted(report).stages)
    assert not any(stage.steps for stage in fitted_stages(report.stages * 14))
