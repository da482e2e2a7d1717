"""Temporary build containers on a Docker engine."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager

from alts.runners.docker.engine import Engine
from alts.runners.docker.errors import engine_errors
from alts.runners.docker.instance import DockerInstance

_ANSWER_TIMEOUT = 120  # seconds of silence allowed while the engine packs a file


class BuildContainer(DockerInstance):
    """Container with file upload and download: alts.images.rpm_standin.Builder."""

    def push(self, path: str, archive: bytes) -> None:
        """Unpack a tar into the existing folder `path`. Raises EngineFailed."""
        with engine_errors(f"write files into {self.name}"):
            self._client.put_archive(self._container, path, archive)

    def fetch(self, path: str) -> Iterator[bytes]:
        """Read a file as a one-member tar, in chunks. Raises EngineFailed."""
        with engine_errors(f"read {path} from {self.name}"):
            pieces: Iterable[bytes]
            pieces, _ = self._client.get_archive(self._container, path)
            yield from pieces

    def commit(self, reference: str, *, labels: Mapping[str, str]) -> None:
        """Make an image of the container as it is now. Raises EngineFailed."""
        name, _, tag = reference.rpartition(":")
        changes = [f"LABEL {key}={json.dumps(value)}" for key, value in labels.items()]
        with engine_errors(f"make the image {reference}"):
            self._client.commit(self._container, name, tag, changes=changes)


class DockerBuilds:
    """Factory of build containers: alts.images.rpm_standin.BuildEngine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @contextmanager
    def builder(self, image: str, *, labels: Mapping[str, str], seconds: float) -> Iterator[BuildContainer]:
        """Start a container of the image id. It ends by itself after `seconds`, even if the worker dies.

        Raises EngineFailed; entering it succeeds or leaves nothing behind.
        """
        with closing(self._engine.connect(timeout=_ANSWER_TIMEOUT)) as client:
            try:
                with engine_errors("start a container to build in"):
                    config = client.create_host_config(auto_remove=True, init=True)
                    command = ["sleep", str(math.ceil(seconds))]
                    made = client.create_container(image, command, labels=dict(labels), host_config=config)
                    client.start(made["Id"])
                yield BuildContainer(client, made["Id"], name="the build container")
            finally:
                # By labels: the id of a container whose creation was interrupted is unknown.
                self.remove_labelled(labels)

    def remove_labelled(self, labels: Mapping[str, str]) -> None:
        """Kill and remove every container with these labels. Raises EngineFailed."""
        for container in self._engine.containers(labels):
            self._engine.remove_container(container.id)
