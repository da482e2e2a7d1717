"""Every RPM of the corpus through the whole service, on machines of the stand-in: exactly the expected verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.embedded import EmbeddedService
from tests.acceptance.fixtures import STANDIN
from tests.corpus.debs import Row
from tests.corpus.rpm_builder import repositories
from tests.corpus.rpms import ROWS
from tests.services.stack import schedule, wait_for

# The first row waits for all: they run several at once.
pytestmark = [pytest.mark.docker, pytest.mark.timeout(2700)]

# What hangs must be stopped long before its deadline in production, and nobody else may come near this one.
HANGING = {"install": 60, "remove": 60}


@pytest.fixture(scope="module")
def results(rpm_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Row, dict[str, Any]]]:
    """What the service says of every row, all of them scheduled at once."""
    with (
        EmbeddedService(
            tmp_path_factory.mktemp("service"), stage_timeouts=HANGING, instance_limits={"memory_mb": 512}
        ) as service,
        repositories(rpm_corpus) as offered,
        service.client as client,
    ):
        tasks = {
            row: schedule(
                client,
                **STANDIN,
                package_name=row.package,
                package_version=row.version,
                plan=row.plan,
                repositories=offered[row.repository],
            )
            for row in ROWS
        }
        yield {row: wait_for(client, task_id, seconds=1800) for row, task_id in tasks.items()}


def named(row: Row) -> str:
    return "-".join(
        filter(None, (row.package, row.repository, row.version, row.plan if row.plan != "standard" else ""))
    )


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_the_verdict_is_exactly_the_expected_one(row: Row, results: dict[Row, dict[str, Any]]) -> None:
    result = results[row]

    findings = [
        finding
        for stage in result["result"]["stages"]
        for finding in stage["findings"]
        if finding["severity"] != "info"
    ]
    assert (result["outcome"], sorted(finding["kind"] for finding in findings)) == (row.outcome, sorted(row.kinds)), (
        result["result"]
    )
    if row.says:
        assert row.says in findings[0]["message"]


def test_the_table_has_no_row_twice() -> None:
    assert [row for row, count in Counter(map(named, ROWS)).items() if count > 1] == []


def test_what_was_tested_is_never_called_by_another_name(results: dict[Row, dict[str, Any]]) -> None:
    for result in results.values():
        report = result["result"]
        assert report["platform"] == "rpm-standin-9 on x86_64"
        assert "almalinux" not in str(report).lower()
