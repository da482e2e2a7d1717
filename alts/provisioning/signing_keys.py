"""Fetch the signing keys that a task gives by address."""

from __future__ import annotations

from collections.abc import Callable

from alts.core.stop import Stop
from alts.shared.errors import RepositoryUnreachable
from alts.shared.models.repository import Repository
from alts.shared.models.task_spec import TaskSpec
from alts.shared.openpgp import public_key

Fetch = Callable[[str, Stop], bytes]


def with_keys(spec: TaskSpec, *, stop: Stop, fetch: Fetch) -> TaskSpec:
    """Return the task with every gpg_key as armored text.

    Raises RepositoryUnreachable if an address does not answer or its content is no key, or Stopped.
    """
    repositories = tuple(_with_key(repository, stop, fetch) for repository in spec.repositories)
    return spec.model_copy(update={"repositories": repositories})


def _with_key(repository: Repository, stop: Stop, fetch: Fetch) -> Repository:
    address = repository.gpg_key
    if address is None or not address.startswith(("http://", "https://")):
        return repository
    content = fetch(address, stop)
    try:
        key = public_key(content)
    except ValueError as error:
        raise RepositoryUnreachable(
            f"{address} does not contain a signing key", details=str(error), retryable=False
        ) from error
    return repository.model_copy(update={"gpg_key": key})
