"""Objects that tests must not leave on the host: containers, volumes, networks, images, processes, work folders.

Other programs and other test runs may use the same engine. Labels tell a test's objects apart. A machine has the
identity of its worker, whose work folder is below the test's folder. Objects that tests make themselves have THIS_RUN.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Collection, Mapping
from contextlib import closing
from pathlib import Path

import docker

from tests.support.tree import below

WORKER_LABEL = "alts.worker"
RUN_LABEL = "alts.test"
THIS_RUN: Mapping[str, str] = {RUN_LABEL: uuid.uuid4().hex}
"""The label of everything that tests of this process make on the engine themselves."""
PATIENCE = 30.0


def workers_of(folder: Path) -> list[str]:
    """Return the identities of the workers with a work folder below the folder."""
    return [path.read_text() for path in below(folder) if path.match("work/*/identity")]


def machines_of(folder: Path) -> set[str]:
    """Name the containers, running or not, of the workers with a work folder below the folder."""
    labels = _labels_of([folder])
    if not labels:
        return set()
    with closing(docker.from_env()) as engine:
        return _containers(engine, labels)


def processes_in(folder: Path) -> set[str]:
    """Return the command lines of the processes that work in the folder or name it, except this process."""
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


def leftovers(
    *folders: Path,
    labels: Mapping[str, str] | None = None,
    volumes: Collection[str] = (),
    patience: float = PATIENCE,
) -> list[str]:
    """List what is left: work in the folders, objects with one of the labels, and the named volumes.

    Objects that are just being removed get `patience` seconds.
    """
    deadline = time.monotonic() + patience
    while True:
        wanted = [*_labels_of(folders), *(f"{key}={value}" for key, value in (labels or {}).items())]
        left = [
            *_on_the_engine(wanted, volumes),
            *(f"process {command}" for folder in folders for command in sorted(processes_in(folder))),
            *(f"work folder {path}" for folder in folders for path in below(folder) if path.match("work/*/tasks/*")),
        ]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.2)


def _labels_of(folders: Collection[Path]) -> list[str]:
    return [f"{WORKER_LABEL}={worker}" for folder in folders for worker in workers_of(folder)]


def _on_the_engine(labels: Collection[str], volumes: Collection[str]) -> list[str]:
    # Most tests have no worker of their own: nothing on the engine can be theirs.
    if not labels and not volumes:
        return []
    with closing(docker.from_env()) as engine:
        return [
            *(f"container {name}" for name in sorted(_containers(engine, labels))),
            *(f"network {name}" for name in sorted(_networks(engine, labels))),
            *(f"volume {name}" for name in sorted(_volumes(engine, labels, volumes))),
            *(f"image {name}" for name in sorted(_images(engine, labels))),
        ]


def _containers(engine: docker.DockerClient, labels: Collection[str]) -> set[str]:
    return {
        str(container.name)
        for label in labels
        for container in engine.containers.list(all=True, filters={"label": label}, ignore_removed=True)
    }


def _networks(engine: docker.DockerClient, labels: Collection[str]) -> set[str]:
    return {str(network.name) for label in labels for network in engine.networks.list(filters={"label": label})}


def _volumes(engine: docker.DockerClient, labels: Collection[str], names: Collection[str]) -> set[str]:
    labelled = {str(volume.name) for label in labels for volume in engine.volumes.list(filters={"label": label})}
    return labelled | ({str(volume.name) for volume in engine.volumes.list()} & set(names) if names else set())


def _images(engine: docker.DockerClient, labels: Collection[str]) -> set[str]:
    return {str(image.id) for label in labels for image in engine.images.list(filters={"label": label})}
