"""Real Debian packages get a human's verdict. tests/corpus/real_packages.yaml has the verdicts and the reasons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.embedded import EmbeddedService
from tests.support.stack import schedule, wait_for

SECONDS = 2400  # for the whole table; it takes minutes on two idle cores

pytestmark = [pytest.mark.docker, pytest.mark.long, pytest.mark.timeout(SECONDS + 60)]

Row = Mapping[str, Any]

TABLE: list[Row] = yaml.safe_load((Path(__file__).parent.parent / "corpus/real_packages.yaml").read_text())


def name_of(row: Row) -> str:
    """Name a row, e.g. "hello", "hello 99", "libssl1.1 with bullseye", "hello on 12 i686"."""
    distribution, architecture = row.get("distribution", ""), row.get("architecture", "")
    words = [row["package"], row.get("version", "")]
    words += ["with", row["repository"]] if "repository" in row else []
    words += ["on", distribution, architecture] if distribution or architecture else []
    return " ".join(filter(None, words))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Mapping[str, Any]]:
    """Test the selected rows, all at once. Yield row name → result."""
    chosen = {item.name for item in request.session.items}
    with EmbeddedService(tmp_path_factory.mktemp("real")) as service, service.client as client:
        # Start slow rows first: started last, they would run without others to overlap with.
        rows = sorted(TABLE, key=lambda row: not row.get("slow", False))
        tasks = {
            name_of(row): schedule(client, **request_of(row))
            for row in rows
            if any(name.endswith(f"[{name_of(row)}]") for name in chosen)
        }
        yield {name: wait_for(client, task_id, seconds=SECONDS) for name, task_id in tasks.items()}


def request_of(row: Row) -> dict[str, Any]:
    fields = {"package_name": row["package"], "package_version": row.get("version")}
    fields |= {"dist_version": row.get("distribution", "12"), "dist_arch": row.get("architecture", "x86_64")}
    if "repository" in row:
        fields["repositories"] = [
            {"name": row["repository"], "url": f"http://deb.debian.org/debian {row['repository']} main"}
        ]
    return fields


@pytest.mark.parametrize("row", TABLE, ids=map(name_of, TABLE))
def test_a_package_is_judged_as_a_human_would(row: Row, results: Mapping[str, Any]) -> None:
    result = results[name_of(row)]

    findings = [finding for stage in result["result"]["stages"] for finding in stage["findings"]]
    # Noise in a human's judgement must not even be a warning.
    serious = sorted({(finding["severity"], finding["kind"]) for finding in findings if finding["severity"] != "info"})
    expected = sorted(("error", kind) for kind in row.get("kinds", []))
    assert (result["outcome"], serious) == (row["outcome"], expected), result["result"]["stages"]
    if "says" in row:
        assert row["says"] in result["result"]["reason"]
