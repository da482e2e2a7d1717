"""Real packages of Debian 12 are judged as a human would: tests/corpus/real_packages.yaml says how, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.acceptance.embedded import EmbeddedService
from tests.services.stack import schedule, wait_for

pytestmark = [pytest.mark.docker, pytest.mark.long]

TABLE = yaml.safe_load((Path(__file__).parent.parent / "corpus/real_packages.yaml").read_text())
SECONDS = 1800


def test_every_package_of_the_table_is_judged_as_a_human_would(tmp_path: Path) -> None:
    with EmbeddedService(tmp_path) as service, service.client as client:
        tasks = {row["package"]: schedule(client, package_name=row["package"]) for row in TABLE}
        found = {name: judged(wait_for(client, task_id, seconds=SECONDS)) for name, task_id in tasks.items()}

    expected = {row["package"]: (row["outcome"], row.get("kinds", [])) for row in TABLE}
    assert found == expected


def judged(result: dict[str, Any]) -> tuple[str, list[str]]:
    """Outcome, and the kinds of the error findings, each once."""
    report = result["result"]
    kinds = {
        finding["kind"] for stage in report["stages"] for finding in stage["findings"] if finding["severity"] == "error"
    }
    return result["outcome"], sorted(kinds)
