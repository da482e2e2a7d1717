"""The task's result in the format of Celery's result backends. Celery's own backends give up while S3 is away. Pure."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import PurePosixPath

from alts.shared.models.report import Outcome, Report

Summary = dict[str, str | int | None]


def summary_of(report: Report, outcome: Outcome) -> Summary:
    """Return the task's result for Celery. `outcome` is the ledger's, which overrides the report's."""
    return {
        "task_id": report.task_id,
        "attempt": report.attempt,
        "outcome": outcome.value,
        "reason": report.reason,
        "artifacts": report.artifacts,
    }


def summary_key(root: str, task_id: str) -> str:
    """Return the key that Celery's S3 and folder backends read, e.g. "results/celery-task-meta-<task id>"."""
    return str(PurePosixPath(root.strip("/"), f"celery-task-meta-{task_id}"))


def summary_content(summary: Summary, *, now: datetime) -> bytes:
    """Return the JSON that Celery's backends read (celery.backends.base, Backend._get_result_meta)."""
    meta: dict[str, object] = {
        "status": "SUCCESS",
        "result": summary,
        "traceback": None,
        "children": [],
        "date_done": now.isoformat(),
        "task_id": summary["task_id"],
    }
    return json.dumps(meta).encode()
