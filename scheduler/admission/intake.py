"""The intake: turns a checked request into a stored task."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from alts.shared.auth.tokens import Caller
from alts.shared.config import RunnerConfig
from alts.shared.errors import KeyReused, LedgerFull, RepositoryDenied, RequestError
from alts.shared.models.routing import queue_for
from alts.shared.models.task_spec import TaskSpec
from alts.shared.network_rules import NetworkRules
from scheduler.admission.quota import Quota
from scheduler.ledger.disk_space import Room
from scheduler.ledger.group_commit import GroupCommit
from scheduler.ledger.idempotency import Submission
from scheduler.ledger.tasks import NewTask

log = logging.getLogger(__name__)


class Tasks(Protocol):
    """Stored tasks; scheduler.ledger.tasks implements it."""

    def submitted(self, submissions: Sequence[Submission]) -> list[str | KeyReused | None]: ...

    def add_all(self, wanted: Sequence[NewTask]) -> list[str | Exception]: ...


@dataclass(frozen=True)
class Request:
    """A checked request for a task."""

    spec: TaskSpec
    caller: Caller
    key: str | None
    """The caller's Idempotency-Key."""


class Intake:
    """Accepts or refuses requests for tasks. Those that come at the same time share a transaction of the ledger."""

    def __init__(
        self,
        tasks: Tasks,
        *,
        runners: Mapping[str, RunnerConfig],
        networks: NetworkRules,
        quota: Quota,
        room: Room,
    ) -> None:
        self._tasks = tasks
        self._runners = runners
        self._networks = networks
        self._quota = quota
        self._room = room
        self._requests = GroupCommit(self.accept_all)

    async def accept(self, spec: TaskSpec, caller: Caller, *, key: str | None = None) -> str:
        """Store a task and its invitation; return the task's id when both are on disk.

        `key`: the caller's Idempotency-Key. The same request with the same key returns the earlier task.
        Raises UnsupportedPlatform, RepositoryDenied, KeyReused, TooManyRequests or LedgerUnavailable.
        """
        return await self._requests.add(Request(spec, caller, key))

    def accept_all(self, requests: Sequence[Request]) -> list[str | Exception]:
        """Accept or refuse each of the requests. Return its task's id or its error. Raises LedgerUnavailable."""
        # First: a request that was accepted before is not a new task, even if it would be refused now.
        outcomes = self._known(requests)
        new: dict[int, NewTask] = {}
        with ExitStack() as admitted:
            for position, request in enumerate(requests):
                if position not in outcomes:
                    try:
                        new[position] = self._admit(request, admitted)
                    except (RequestError, LedgerFull) as error:
                        outcomes[position] = error
            outcomes |= dict(zip(new, self._tasks.add_all(list(new.values())), strict=True))
        for position, task in new.items():
            if outcomes[position] == task.id:
                more = {"task_id": task.id, "queue": task.queue, "submitted_by": task.submitted_by}
                log.info("task accepted", extra=more)
        return [outcomes[position] for position in range(len(requests))]

    def _known(self, requests: Sequence[Request]) -> dict[int, str | Exception]:
        """Return the outcomes of requests whose key came before."""
        submissions = {
            position: Submission(request.caller.email, request.key, request.spec)
            for position, request in enumerate(requests)
            if request.key is not None
        }
        if not submissions:
            return {}
        outcomes = self._tasks.submitted(list(submissions.values()))
        return {position: outcome for position, outcome in zip(submissions, outcomes, strict=True) if outcome}

    def _admit(self, request: Request, admitted: ExitStack) -> NewTask:
        """Raises UnsupportedPlatform, RepositoryDenied, TooManyRequests, LedgerFull or LedgerUnavailable."""
        check_addresses(request.spec, self._networks)
        self._room.check()
        queue = queue_for(request.spec, self._runners)
        if not request.caller.is_admin:
            admitted.enter_context(self._quota.one_more(request.caller.email))
        return NewTask(request.spec, queue, request.caller.email, request.key)


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
