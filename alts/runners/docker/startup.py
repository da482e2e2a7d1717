"""Diagnosis of a container in which nothing starts: its own processes or the engine are the cause."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from alts.core.instance import MachineRuined
from alts.shared.models.report import Kind

_WAIT = 30  # seconds that a new container may take
_MEMORY = "128m"
_FEW_PROCESSES = 16  # processes and threads that the engine needs to start one command


class StartApi(Protocol):
    """The part of the SDK's APIClient used here. Its errors are not translated."""

    def stats(self, container: str, *, stream: bool) -> Any: ...

    def inspect_container(self, container: str) -> Mapping[str, Any]: ...

    def create_host_config(self, *arguments: Any, **options: Any) -> Any: ...

    def create_container(self, *arguments: Any, **options: Any) -> Any: ...

    def start(self, *arguments: Any, **options: Any) -> Any: ...

    def wait(self, *arguments: Any, **options: Any) -> Any: ...

    def remove_container(self, *arguments: Any, **options: Any) -> Any: ...


def why_nothing_starts(client: StartApi, container: str, *, said: str) -> MachineRuined | None:
    """Return how the container was ruined; None if nothing starts in a new container of its image either.

    `said`: the output received instead of the command's.
    """
    processes = client.stats(container, stream=False).get("pids_stats", {})
    current, limit = processes.get("current", 0), processes.get("limit", 0)
    if limit and current + _FEW_PROCESSES > limit:
        return MachineRuined(
            Kind.PROCESS_LIMIT_EXCEEDED,
            "the machine reached its process limit and could start no more processes",
            evidence=f"{current} of {limit}",
        )
    if _starts_when_new(client, container):
        return MachineRuined(None, "no command can be started in the machine any more", evidence=said)
    return None


def _starts_when_new(client: StartApi, container: str) -> bool:
    """Return whether the image's shell starts in a new container. It gets the same labels and is removed."""
    inspected = client.inspect_container(container)
    host_config = client.create_host_config(network_mode="none", cap_drop=["ALL"], mem_limit=_MEMORY)
    made = client.create_container(
        inspected["Image"], ["/bin/sh", "-c", ":"], labels=inspected["Config"]["Labels"], host_config=host_config
    )["Id"]
    try:
        client.start(made)
        return bool(client.wait(made, timeout=_WAIT)["StatusCode"] == 0)
    finally:
        client.remove_container(made, force=True, v=True)
