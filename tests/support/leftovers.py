"""What tests must not leave on the machine: containers, volumes, networks, images, processes, work folders.

Other programs and other test runs may use the same engine meanwhile. What belongs to a test is told by its labels: a
machine carries the identity of the worker that made it, whose work folder is below the test's own folder; what tests
make themselves carries THIS_RUN.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import docker

from tests.support.tree import below

WORKER_LABEL = "alts.worker"
RUN_LABEL = "alts.test"
THIS_RUN: Mapping[str, str] = {RUN_LABEL: uuid.uuid4().hex}
"""The label of everything that tests of this process make on the engine themselves."""
PATIENCE = 30.0


def workers_of(folder: Path) -> list[str]:
    """The identities of the workers whose work folders are below the folder."""
    return [path.read_text() for path in below(folder) if path.match("work/*/identity")]


def machines_of(folder: Path) -> set[str]:
    """Names of the containers, running or not, of the workers whose work folders are below the folder."""
    return _containers(_labels_of([folder]))


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


def leftovers(
    *folders: Path,
    labels: Mapping[str, str] | None = None,
    volumes: Collection[str] = (),
    patience: float = PATIENCE,
) -> list[str]:
    """What there still is of the work in the folders, of what carries one of the labels, and of the named volumes.

    What is just going away is given a moment for it (seconds).
    """
    deadline = time.monotonic() + patience
    while True:
        wanted = [*_labels_of(folders), *(f"{key}={value}" for key, value in (labels or {}).items())]
        left = [
            *(f"container {name}" for name in sorted(_containers(wanted))),
            *(f"network {name}" for name in sorted(_networks(wanted))),
            *(f"volume {name}" for name in sorted(_volumes(wanted, volumes))),
            *(f"image {name}" for name in sorted(_images(wanted))),
            *(f"process {command}" for folder in folders for command in sorted(processes_in(folder))),
            *(f"work folder {path}" for folder in folders for path in below(folder) if path.match("work/*/tasks/*")),
        ]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.2)


def _labels_of(folders: Collection[Path]) -> list[str]:
    return [f"{WORKER_LABEL}={worker}" for folder in folders for worker in workers_of(folder)]


@contextmanager
def _engine() -> Iterator[docker.DockerClient]:
    with closing(docker.from_env()) as client:
        yield client


def _containers(labels: Collection[str]) -> set[str]:
    with _engine() as engine:
        return {
            str(container.name)
            for label in labels
            for container in engine.containers.list(all=True, filters={"label": label}, ignore_removed=True)
        }


def _networks(labels: Collection[str]) -> set[str]:
    with _engine() as engine:
        return {str(network.name) for label in labels for network in engine.networks.list(filters={"label": label})}


def _volumes(labels: Collection[str], names: Collection[str]) -> set[str]:
    with _engine() as engine:
        labelled = {str(volume.name) for label in labels for volume in engine.volumes.list(filters={"label": label})}
        return labelled | ({str(volume.name) for volume in engine.volumes.list()} & set(names) if names else set())


def _images(labels: Collection[str]) -> set[str]:
    with _engine() as engine:
        return {str(image.id) for label in labels for image in engine.images.list(filters={"label": label})}
