"""What a test must not leave on the machine: containers, volumes, networks, processes."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import docker

TASK_LABEL = "alts.task"
PATIENCE = 10.0


@dataclass(frozen=True)
class Belongings:
    """What there is, by kind."""

    containers: frozenset[str]
    volumes: frozenset[str]
    networks: frozenset[str]

    @classmethod
    def now(cls) -> Belongings:
        client = docker.from_env()
        try:
            return cls(
                containers=frozenset(
                    str(container.name)
                    for container in client.containers.list(
                        all=True, filters={"label": TASK_LABEL}, ignore_removed=True
                    )
                ),
                volumes=frozenset(str(volume.name) for volume in client.volumes.list()),
                networks=frozenset(str(network.name) for network in client.networks.list()),
            )
        finally:
            client.close()


def processes_in(folder: Path) -> list[str]:
    """Command lines of the processes that work in the folder or name it, ours left out."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) == os.getpid():
            continue
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            cwd = str((process / "cwd").readlink())
        except OSError:
            continue
        if str(folder) in command or cwd.startswith(str(folder)):
            found.append(command)
    return found


def leftovers(before: Belongings, folder: Path) -> list[str]:
    """What is there now that was not before; what is just going away is given a moment for it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        now = Belongings.now()
        left = [
            *(f"container {name}" for name in sorted(now.containers - before.containers)),
            *(f"volume {name}" for name in sorted(now.volumes - before.volumes)),
            *(f"network {name}" for name in sorted(now.networks - before.networks)),
            *(f"process {command}" for command in processes_in(folder)),
        ]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.2)
