"""What a test must not leave on the machine: containers, volumes, networks, processes, work folders.

The machine may be somebody's who uses the same engine meanwhile: only what can be told to be the test's own counts.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import docker

from tests.tree import below

WORKER_LABEL = "alts.worker"
COMPOSE_LABEL = "com.docker.compose.project"
PATIENCE = 10.0

_ANONYMOUS = re.compile(r"[0-9a-f]{64}")


def workers_of(folder: Path) -> list[str]:
    """What the workers whose work folders are below the folder label as theirs."""
    return [path.read_text() for path in below(folder) if path.match("work/*/identity")]


def machines_of(folder: Path) -> set[str]:
    """Names of the containers, running or not, of the workers whose work folders are below the folder."""
    client = docker.from_env()
    try:
        return {
            str(container.name)
            for worker in workers_of(folder)
            for container in client.containers.list(
                all=True, filters={"label": f"{WORKER_LABEL}={worker}"}, ignore_removed=True
            )
        }
    finally:
        client.close()


def networks_of(folder: Path) -> set[str]:
    """Names of the networks of the same workers."""
    client = docker.from_env()
    try:
        return {
            str(network.name)
            for worker in workers_of(folder)
            for network in client.networks.list(filters={"label": f"{WORKER_LABEL}={worker}"})
        }
    finally:
        client.close()


def unnamed_things() -> set[str]:
    """Volumes that come with containers, and networks of nobody whose name they bear.

    A worker's are known by its identity: another test's may be at work meanwhile.
    """
    client = docker.from_env()
    try:
        volumes = {f"volume {volume.name}" for volume in client.volumes.list() if _ANONYMOUS.fullmatch(volume.name)}
        networks = {
            f"network {network.name}"
            for network in client.networks.list()
            if not {COMPOSE_LABEL, WORKER_LABEL} & (network.attrs.get("Labels") or {}).keys()
        }
        return volumes | networks
    finally:
        client.close()


def processes_in(folder: Path) -> set[str]:
    """Command lines of the processes that work in the folder or name it, this one left out."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) == os.getpid():
            continue
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            cwd = str((process / "cwd").readlink())
        except OSError:
            continue
        if str(folder) in command or cwd.startswith(str(folder)):
            found.add(command)
    return found


def leftovers(before: set[str], folder: Path) -> list[str]:
    """What there is of the test in `folder`; what is just going away is given a moment for it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        left = [
            *(f"container {name}" for name in sorted(machines_of(folder))),
            *(f"network {name}" for name in sorted(networks_of(folder))),
            *sorted(unnamed_things() - before),
            *(f"process {command}" for command in sorted(processes_in(folder))),
            *(f"work folder {path}" for path in below(folder) if path.match("work/*/tasks/*")),
        ]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.2)
