"""The intake: turns a checked request into a stored task."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from alts.shared.auth.tokens import Caller
from alts.shared.config import RunnerConfig
from alts.shared.errors import RepositoryDenied
from alts.shared.models.routing import queue_for
from alts.shared.models.task_spec import TaskSpec
from alts.shared.network_rules import NetworkRules
from scheduler.admission.quota import Quota
from scheduler.ledger.disk_space import Room
from scheduler.ledger.idempotency import Submission

log = logging.getLogger(__name__)


class Tasks(Protocol):
    """Stored tasks; scheduler.ledger.tasks implements it."""

    def submitted(self, submission: Submission) -> str | None: ...

    def add(self, spec: TaskSpec, *, queue: str, submitted_by: str, key: str | None = None) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Intake:
    """Accepts or refuses requests for tasks."""

    tasks: Tasks
    runners: Mapping[str, RunnerConfig]
    networks: NetworkRules
    quota: Quota
    room: Room

    def accept(self, spec: TaskSpec, caller: Caller, *, key: str | None = None) -> str:
        """Store a task and its invitation; return the task's id when both are on disk.

        `key`: the caller's Idempotency-Key. The same request with the same key returns the earlier task.
        Raises UnsupportedPlatform, RepositoryDenied, KeyReused, TooManyRequests or LedgerUnavailable.
        """
        # First: a request that was accepted before is not a new task, even if it would be refused now.
        if key is not None and (earlier := self.tasks.submitted(Submission(caller.email, key, spec))):
            return earlier
        check_addresses(spec, self.networks)
        self.room.check()
        queue = queue_for(spec, self.runners)
        with nullcontext() if caller.is_admin else self.quota.one_more(caller.email):
            task_id = self.tasks.add(spec, queue=queue, submitted_by=caller.email, key=key)
        log.info("task accepted", extra={"task_id": task_id, "queue": queue, "submitted_by": caller.email})
        return task_id


def check_addresses(spec: TaskSpec, networks: NetworkRules) -> None:
    """Raises RepositoryDenied if a URL's host is denied as written. The worker resolves names and checks again."""
    for number, repository in enumerate(spec.repositories):
        for field, url in (("url", repository.source[0]), ("gpg_key", repository.gpg_key or "")):
            if not url.startswith(("http://", "https://")):
                continue
            host = urlsplit(url).hostname or ""
            if networks.denies_host(host):
                raise RepositoryDenied(
                    f"this service does not connect to {host}; use another address or ask the operator to allow it",
                    field=(number, field),
                )
