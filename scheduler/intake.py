"""The intake: a checked request becomes a task on disk."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Protocol

from alts.shared.config import RunnerConfig
from alts.shared.routing import queue_for
from alts.shared.spec import TaskSpec

log = logging.getLogger(__name__)


class Book(Protocol):
    """What the intake needs of the ledger."""

    def add(self, spec: TaskSpec, *, queue: str, submitted_by: str) -> str: ...


def accept(spec: TaskSpec, *, submitted_by: str, ledger: Book, runners: Mapping[str, RunnerConfig]) -> str:
    """The id of the new task, which is on disk together with the wish to invite a worker.

    Raises UnsupportedPlatform, or LedgerUnavailable.
    """
    queue = queue_for(spec, runners)
    task_id = ledger.add(spec, queue=queue, submitted_by=submitted_by)
    log.info("task accepted", extra={"task_id": task_id, "queue": queue, "submitted_by": submitted_by})
    return task_id
