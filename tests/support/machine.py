"""A container as a machine, without Terraform, for tests of its inside."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import docker

from alts.core.stop import Stop
from alts.runners.docker.engine import Engine
from alts.runners.docker.instance import DockerInstance
from tests.support.engine_proxy import ENGINE
from tests.support.leftovers import THIS_RUN

HOST = f"unix://{ENGINE}"
# The same command as in the Terraform module.
FIRST_PROCESS = """\
env --ignore-signal=CHLD true 2>/dev/null && exec env --ignore-signal=CHLD sleep infinity
exec sleep infinity
"""


class Machine:
    """Starts in `__enter__` and is removed in `__exit__`. `instance` is the service's view of it."""

    def __init__(self, image: str, *, docker_host: str = HOST, disk_mb: int | None = None, **limits: Any) -> None:
        """`limits` are arguments of the Docker SDK, e.g. mem_limit and pids_limit."""
        self.name = f"alts-test-{uuid.uuid4().hex[:8]}"
        self._image = image
        self._disk_mb = disk_mb
        self._limits = limits
        self._client = docker.DockerClient(base_url=HOST)
        self._engine = Engine(docker_host)

    def __enter__(self) -> Machine:
        self._container = self._client.containers.run(
            self._image,
            ["/bin/sh", "-c", FIRST_PROCESS],
            name=self.name,
            labels={"alts.task": self.name, **THIS_RUN},
            detach=True,
            **self._limits,
        )
        self.instance: DockerInstance = self._engine.instance(
            str(self._container.id), name=self.name, disk_mb=self._disk_mb
        )
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.remove()
        self._engine.close()
        self._client.close()

    def kill(self) -> None:
        """Kill the machine without warning. The container stays, dead."""
        self._container.kill()

    def remove(self) -> None:
        """Remove the container, as an operator would."""
        self._engine.remove_container(str(self._container.id))

    def put(self, folder: str, archive: bytes) -> None:
        self._container.put_archive(folder, archive)

    def changes(self) -> set[str]:
        """Return the paths that differ from the image."""
        return {change["Path"] for change in self._client.api.diff(str(self._container.id)) or ()}

    def processes(self) -> list[str]:
        """Return the command lines of its processes, except those that always run."""
        script = 'for f in /proc/[0-9]*/cmdline; do tr "\\0" " " <"$f" 2>/dev/null; echo; done'
        lines = self.instance.run(["sh", "-c", script], stop=Stop(10)).output.splitlines()
        ours = ("sh -c for f in", "tr ")
        always = ("sleep infinity",)
        return [line for line in lines if line.strip() and not line.startswith((*ours, *always))]


class KeptMachine:
    """Hands one machine to test after test, and replaces it if a test has changed it."""

    def __init__(self, image: str, *, prepare: Callable[[Machine], object] = lambda machine: None) -> None:
        self._image = image
        self._prepare = prepare
        self._machine: Machine | None = None
        self._as_it_was: set[str] = set()

    @contextmanager
    def lent(self) -> Iterator[Machine]:
        machine = self._machine or self._new()
        yield machine
        if not self._is_as_it_was(machine):
            self.close()

    def close(self) -> None:
        if self._machine is not None:
            machine, self._machine = self._machine, None
            machine.__exit__(None, None, None)

    def _new(self) -> Machine:
        self._machine = Machine(self._image).__enter__()
        self._prepare(self._machine)
        self._as_it_was = self._machine.changes()
        return self._machine

    def _is_as_it_was(self, machine: Machine) -> bool:
        machine.instance.close()  # its shell ends a moment later
        return (
            machine.instance.alive()
            and machine.changes() == self._as_it_was
            and eventually(lambda: machine.processes() == [], within=0.5)
        )


def eventually(condition: Callable[[], object], *, within: float = 5.0) -> bool:
    """Whether `condition` becomes true within that many seconds."""
    end = time.monotonic() + within
    while not (holds := bool(condition())) and time.monotonic() < end:
        time.sleep(0.05)
    return holds
