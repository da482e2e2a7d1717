"""The task's result as Celery keeps it, written by us: Celery's own backends give up where S3 is away. Pure."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import PurePosixPath

from alts.shared.models.report import Outcome, Report

Summary = dict[str, str | int | None]


def summary_of(report: Report, outcome: Outcome) -> Summary:
    """What Celery keeps as the task's result. The ledger has the last word on the outcome."""
    return {
        "task_id": report.task_id,
        "attempt": report.attempt,
        "outcome": outcome.value,
        "reason": report.reason,
        "artifacts": report.artifacts,
    }


def summary_key(root: str, task_id: str) -> str:
    """Where Celery's backends for S3 and folders look, such as "results/celery-task-meta-<task id>"."""
    return str(PurePosixPath(root.strip("/"), f"celery-task-meta-{task_id}"))


def summary_content(summary: Summary, *, now: datetime) -> bytes:
    """What Celery's backends read there (celery.backends.base, Backend._get_result_meta)."""
    meta: dict[str, object] = {
        "status": "SUCCESS",
        "result": summary,
        "traceback": None,
        "children": [],
        "date_done": now.isoformat(),
        "task_id": summary["task_id"],
    }
    return json.dumps(meta).encode()
