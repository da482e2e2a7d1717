"""Deliberately bad Debian packages, and good ones, through the embedded stack on real machines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.acceptance.embedded import EmbeddedService
from tests.corpus.deb_builder import repositories
from tests.corpus.debs import DEBS, ROWS, Row
from tests.services.stack import schedule, wait_for

# The first row waits for all: they run several at once.
pytestmark = [pytest.mark.docker, pytest.mark.timeout(2700)]

Result = Mapping[str, Any]

# A hanging script is waited for: as short as a busy test machine allows (seconds).
STAGE_TIMEOUTS = {"install": 60.0, "remove": 45.0}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Mapping[str, Result]]:
    """What a test of every row that was chosen says, by the row's id; all of them run at once."""
    chosen = {item.name for item in request.session.items}
    folder = tmp_path_factory.mktemp("corpus")
    limits = {"memory_mb": 512}
    with (
        repositories(folder / "repositories", DEBS) as bodies,
        EmbeddedService(folder, stage_timeouts=STAGE_TIMEOUTS, instance_limits=limits) as service,
        service.client as client,
    ):
        # The slow ones first: they wait, and hold nobody else up.
        rows = sorted(ROWS, key=lambda row: row.slow, reverse=True)
        tasks = {
            row.id: schedule(
                client,
                package_name=row.package,
                package_version=row.version,
                dist_version=row.distribution,
                plan=row.plan,
                repositories=[bodies[row.repository]],
            )
            for row in rows
            if any(name.endswith(f"[{row.id}]") for name in chosen)
        }
        yield {name: wait_for(client, task_id, seconds=1800) for name, task_id in tasks.items()}


@pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])
def test_a_row_is_judged_as_the_table_says(row: Row, results: Mapping[str, Result]) -> None:
    result = results[row.id]

    findings = [finding for stage in result["result"]["stages"] for finding in stage["findings"]]
    serious = [finding for finding in findings if finding["severity"] != "info"]
    assert (result["outcome"], sorted(finding["kind"] for finding in serious)) == (row.outcome, sorted(row.kinds)), (
        result["result"]["stages"]
    )
    assert all(finding["message"] for finding in findings)
    if row.says:
        assert row.says in serious[0]["message"]
