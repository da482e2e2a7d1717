"""A package may call its files, and have its programs say, whatever it likes: its report arrives all the same."""

from __future__ import annotations

from datetime import UTC, datetime

from alts.shared.report import Finding, Kind, Outcome, Report, Severity, StageResult
from alts.snapshots.difference import brief_changes
from alts.snapshots.leftovers import shown
from alts.snapshots.snapshot import FileState, Process, Snapshot
from scheduler.body_limit import WORKER_LIMIT

# JSON has six characters for it.
WORST = "\x01"


def test_a_finding_is_cut_in_the_middle() -> None:
    finding = Finding(kind=Kind.BAD_RPATH, message="m" * 5000 + "end", evidence="e" * 1_000_000 + "end")

    assert (finding.message[:3], finding.message[-3:]) == ("mmm", "end")
    assert (finding.evidence[:3], finding.evidence[-3:]) == ("eee", "end")
    assert len(finding.message) <= 1000
    assert len(finding.evidence) <= 4000


def test_what_is_short_enough_stays() -> None:
    finding = Finding(kind=Kind.BAD_RPATH, message="m" * 1000, evidence="e" * 4000)

    assert (finding.message, finding.evidence) == ("m" * 1000, "e" * 4000)


def test_the_worst_report_is_one_that_the_scheduler_takes() -> None:
    kinds = (
        Kind.MISSING_FILE, Kind.MODIFIED_FILE, Kind.BROKEN_SYMLINK, Kind.MISSING_LIBRARY, Kind.BAD_RPATH,
        Kind.LEFTOVER_FILE, Kind.LEFTOVER_USER, Kind.PROCESS_LEFT_RUNNING,
    )  # fmt: skip
    findings = [
        Finding(kind=kind, severity=severity, message=WORST * 5000 + str(number), evidence=WORST * 5000)
        for kind in kinds
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

    report = Report(
        task_id="t",
        attempt=1,
        outcome=Outcome.FAILED,
        reason=findings[0].message,
        stages=(StageResult(stage="integrity", outcome=Outcome.FAILED, findings=shown(findings)),),
        state=brief_changes(moments),
        started_at=datetime.now(UTC),
    )

    assert len(report.to_json()) < WORKER_LIMIT
