"""Every RPM of the corpus gets exactly the expected verdict from the whole plan, on machines of the stand-in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from alts.shared.models.report import Report, Severity
from tests.corpus.debs import Row
from tests.corpus.rpm_builder import repositories
from tests.corpus.rpms import ROWS
from tests.support.acceptance import STANDIN
from tests.support.lab import Lab
from tests.support.plain_runner import plain_runner

# The first test waits for all rows, which run concurrently.
pytestmark = [pytest.mark.docker, pytest.mark.timeout(2700)]

# Seconds. Hanging scripts are stopped long before the production deadline; other rows stay far below these limits.
HANGING = {"install": 60, "remove": 60}


Reports = Mapping[Row, Report]


@pytest.fixture(scope="module")
def reports(rpm_corpus: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Reports:
    """Test the selected rows, several at once. Return row → report."""
    chosen = {item.name for item in request.session.items if item.path == request.path}
    every = any("[" not in name and name != "test_the_table_has_no_row_twice" for name in chosen)
    limits = {"memory_mb": 512}
    with (
        Lab(
            tmp_path_factory.mktemp("corpus"),
            make_runner=plain_runner,
            stage_timeouts=HANGING,
            instance_limits=limits,
            # For a repository on the machine itself that never answers.
            repository_networks_allowed=["127.0.0.0/8"],
        ) as lab,
        repositories(rpm_corpus) as offered,
    ):
        attempts = {
            row: lab.submit(
                {
                    **STANDIN,
                    "package_name": row.package,
                    "package_version": row.version,
                    "plan": row.plan,
                    "repositories": offered[row.repository],
                }
            )
            # Start slow rows first: they mostly wait and do not hold up other rows.
            for row in sorted(ROWS, key=lambda row: row.slow, reverse=True)
            if every or any(name.endswith(f"[{named(row)}]") for name in chosen)
        }
        return lab.reports(attempts)


def named(row: Row) -> str:
    return "-".join(
        filter(None, (row.package, row.repository, row.version, row.plan if row.plan != "standard" else ""))
    )


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_the_verdict_is_exactly_the_expected_one(row: Row, reports: Reports) -> None:
    report = reports[row]

    findings = [
        finding for stage in report.stages for finding in stage.findings if finding.severity is not Severity.INFO
    ]
    assert (report.outcome, sorted(finding.kind for finding in findings)) == (row.outcome, sorted(row.kinds)), report
    if row.says:
        assert row.says in findings[0].message


def test_the_table_has_no_row_twice() -> None:
    assert [row for row, count in Counter(map(named, ROWS)).items() if count > 1] == []


def test_what_was_tested_is_never_called_by_another_name(reports: Reports) -> None:
    for report in reports.values():
        assert report.platform == "rpm-standin-9 on x86_64"
        assert "almalinux" not in report.to_json().lower()
