"""Deliberately bad Debian packages and good ones run through the whole plan on real machines."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pytest

from alts.shared.models.report import Report, Severity
from tests.corpus.deb_builder import repositories
from tests.corpus.debs import DEBS, ROWS, Row
from tests.support.lab import Lab
from tests.support.mirror import mirror
from tests.support.plain_runner import plain_runner
from tests.support.small_archive import machine_files, names_in_fields, small_archive

# The first test waits for all rows, which run concurrently.
pytestmark = [pytest.mark.docker, pytest.mark.timeout(2700)]

# Seconds. Hanging scripts run until these limits, so they are as short as a busy test machine allows.
STAGE_TIMEOUTS = {"install": 60.0, "remove": 45.0}


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Mapping[str, Report]:
    """Test the selected rows, several at once. Return row id → report."""
    chosen = {item.name for item in request.session.items if item.path == request.path}
    folder = tmp_path_factory.mktemp("corpus")
    limits = {"memory_mb": 512}
    wanted = {row.package for row in ROWS} | names_in_fields(*DEBS)
    with (
        repositories(folder / "repositories", DEBS) as bodies,
        small_archive(wanted) as archive,
        mirror(folder, archive) as debian,
        Lab(
            folder,
            make_runner=partial(plain_runner, apt_files=machine_files(archive, debian.url)),
            stage_timeouts=STAGE_TIMEOUTS,
            instance_limits=limits,
        ) as lab,
    ):
        # Start slow rows first: they mostly wait and do not hold up other rows.
        rows = sorted(ROWS, key=lambda row: row.slow, reverse=True)
        attempts = {
            row.id: lab.submit(
                {
                    "package_name": row.package,
                    "package_version": row.version,
                    "dist_version": row.distribution,
                    "plan": row.plan,
                    "repositories": [bodies[row.repository]],
                }
            )
            for row in rows
            if any(name.endswith(f"[{row.id}]") for name in chosen)
        }
        return lab.reports(attempts)


@pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])
def test_a_row_is_judged_as_the_table_says(row: Row, reports: Mapping[str, Report]) -> None:
    report = reports[row.id]

    findings = [finding for stage in report.stages for finding in stage.findings]
    serious = [finding for finding in findings if finding.severity is not Severity.INFO]
    assert (report.outcome, sorted(finding.kind for finding in serious)) == (row.outcome, sorted(row.kinds)), (
        report.stages
    )
    assert all(finding.message for finding in findings)
    if row.says:
        assert row.says in serious[0].message
