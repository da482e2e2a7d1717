"""Build objects with defaults for every field that a test does not name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alts.runners.base import Order
from alts.shared.config import Config
from alts.shared.config_file import parse_config
from alts.shared.models.report import Outcome, Report, StageResult
from alts.shared.models.task_spec import TaskSpec

SECRET = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
TASK_ID = "00000000-0000-4000-8000-000000000001"


def a_spec(**changes: Any) -> TaskSpec:
    """Return a request for `hello` on Debian 12."""
    return TaskSpec.model_validate(
        {"dist_name": "debian", "dist_version": "12", "dist_arch": "x86_64", "package_name": "hello", **changes}
    )


def an_order(work_folder: Path, **changes: Any) -> Order:
    return Order(task_id=TASK_ID, attempt=1, spec=a_spec(**changes), work_folder=work_folder)


def a_config(**changes: Any) -> Config:
    """Return an embedded configuration that needs no service. Without a pool, whose machines few tests need."""
    settings = {"jwt_secret": SECRET, "broker": "memory", "storage": "folder", "pool_size": 0, "repository_max_age": 0}
    return parse_config({**settings, **changes})


def a_report(**changes: Any) -> Report:
    """Return a report with the outcome passed."""
    fields: dict[str, Any] = {
        "task_id": TASK_ID,
        "attempt": 1,
        "outcome": Outcome.PASSED,
        "reason": "",
        "stages": (StageResult(stage="install", outcome=Outcome.PASSED, seconds=1.0, exit_code=0),),
        **changes,
    }
    return Report(**fields)
