"""A record of everything made on the engine while tests run, from the engine's events."""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import docker
import requests.exceptions
import urllib3.exceptions
from docker.errors import DockerException

from tests.support.leftovers import RUN_LABEL, THIS_RUN, WORKER_LABEL

# A machine is called alts-<task>-<attempt>. The helper that seals its network has the same labels and another name.
_MACHINE = re.compile(r"alts-[0-9a-f-]{36}-\d+")
# Each command in a machine has three events of its own, which nobody needs.
_WANTED = {"type": ["container", "volume"], "event": ["create", "mount"]}
_WAIT = 60.0  # seconds until the events of a new container must have arrived
_ENDINGS = (DockerException, requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError)


@dataclass(frozen=True)
class Made:
    """A container that was created."""

    id: str
    name: str
    labels: Mapping[str, str]

    @property
    def machine(self) -> bool:
        return _MACHINE.fullmatch(self.name) is not None


class EngineJournal:
    """Listens between `__enter__` and `__exit__`."""

    def __init__(self) -> None:
        self._client = docker.from_env()
        # A thread fails if it reads the environment while pytest writes the current test into it.
        self._client.api.trust_env = False
        self._made: list[Made] = []
        self._mounts: list[tuple[str, str]] = []
        self._seen: set[str] = set()
        self._closed = False
        self._stream: Any = None
        self._thread = threading.Thread(target=self._listen, name="engine journal", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closed = True
        # This wakes the thread, which then sees that it must end.
        self._beacon()
        self._thread.join(_WAIT)
        self._client.close()

    def made(self) -> list[Made]:
        """Return every container with one of our labels created before the call."""
        self._catch_up()
        return list(self._made)

    def volumes_of(self, containers: Collection[str]) -> set[str]:
        """Return the names of all volumes ever mounted in the containers with these ids."""
        self._catch_up()
        return {volume for volume, container in self._mounts if container in containers}

    def _beacon(self) -> str:
        volume = self._client.volumes.create(f"alts-test-{uuid.uuid4().hex}", labels=dict(THIS_RUN))
        volume.remove()
        return str(volume.name)

    def _catch_up(self) -> None:
        """Return when the events of everything made before this call have arrived."""
        beacon = self._beacon()
        until = time.monotonic() + _WAIT
        while beacon not in self._seen:
            assert time.monotonic() < until, "the engine tells nothing of what is made on it"
            time.sleep(0.02)

    def _listen(self) -> None:
        since = time.time()
        while not self._closed:
            try:
                for event in self._client.events(since=int(since), decode=True, filters=_WANTED):
                    self._note(event)
                    if self._closed:
                        return
            except _ENDINGS:
                # The engine may have been restarted. Ask it again for events from a moment before.
                since = time.time() - 60
                time.sleep(0.2)

    def _note(self, event: Mapping[str, Any]) -> None:
        actor, what = event["Actor"], (event["Type"], event["Action"])
        if what == ("container", "create"):
            labels = {key: value for key, value in actor["Attributes"].items() if key in (WORKER_LABEL, RUN_LABEL)}
            made = Made(actor["ID"], actor["Attributes"]["name"], labels)
            if labels and made not in self._made:
                self._made.append(made)
        elif what == ("volume", "mount"):
            self._mounts.append((actor["ID"], actor["Attributes"]["container"]))
        elif what == ("volume", "create"):
            self._seen.add(actor["ID"])
