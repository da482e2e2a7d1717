"""The intake: a checked request becomes a task on disk."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import urlsplit

from alts.shared.config import RunnerConfig
from alts.shared.errors import RepositoryDenied
from alts.shared.networks import NetworkRules
from alts.shared.routing import queue_for
from alts.shared.spec import TaskSpec

log = logging.getLogger(__name__)


class Book(Protocol):
    """What the intake needs of the ledger."""

    def add(self, spec: TaskSpec, *, queue: str, submitted_by: str) -> str: ...


def accept(
    spec: TaskSpec, *, submitted_by: str, ledger: Book, runners: Mapping[str, RunnerConfig], networks: NetworkRules
) -> str:
    """The id of the new task, which is on disk together with the wish to invite a worker.

    Raises UnsupportedPlatform, RepositoryDenied, or LedgerUnavailable.
    """
    check_addresses(spec, networks)
    queue = queue_for(spec, runners)
    task_id = ledger.add(spec, queue=queue, submitted_by=submitted_by)
    log.info("task accepted", extra={"task_id": task_id, "queue": queue, "submitted_by": submitted_by})
    return task_id


def check_addresses(spec: TaskSpec, networks: NetworkRules) -> None:
    """Raises RepositoryDenied for an address that is denied as it stands; names are for the worker to look up."""
    for number, repository in enumerate(spec.repositories):
        for field, url in (("url", repository.source[0]), ("gpg_key", repository.gpg_key or "")):
            if not url.startswith(("http://", "https://")):
                continue
            host = urlsplit(url).hostname or ""
            if networks.denies_host(host):
                raise RepositoryDenied(
                    f"this service does not connect to {host}: give an address that it may reach", field=(number, field)
                )
