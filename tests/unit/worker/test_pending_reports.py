"""Reports on disk until the ledger has answered."""

from __future__ import annotations

from pathlib import Path

from alts.worker.pending_reports import PendingReports
from tests.support.builders import a_report


def test_a_report_comes_back_as_it_was_until_it_is_forgotten(tmp_path: Path) -> None:
    report = a_report()
    PendingReports(tmp_path / "reports").keep(report)

    again = PendingReports(tmp_path / "reports")
    assert list(again.waiting()) == [report]

    again.forget(report)
    assert list(again.waiting()) == []


def test_reports_of_a_dead_worker_are_adopted(tmp_path: Path) -> None:
    dead, living = PendingReports(tmp_path / "dead"), PendingReports(tmp_path / "living")
    dead.keep(a_report())

    assert living.adopt(tmp_path / "dead") == 1

    assert list(living.waiting()) == [a_report()]
    assert list(dead.waiting()) == []
    assert living.adopt(tmp_path / "never-was") == 0


def test_what_cannot_be_read_is_put_out_of_the_way(tmp_path: Path) -> None:
    (tmp_path / "broken-1.json").write_text('{"task_id": ')
    reports = PendingReports(tmp_path)
    reports.keep(a_report())

    assert list(reports.waiting()) == [a_report()]
    assert not (tmp_path / "broken-1.json").exists()


def test_a_disk_that_takes_nothing_does_not_end_the_task(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    PendingReports(tmp_path / "file" / "reports").keep(a_report())
