"""Containers of a Docker engine in which something is made, and which are gone afterwards."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager

from alts.runners.docker.engine import DockerInstance, Engine, engine_errors

_ANSWER_TIMEOUT = 120  # seconds that the engine may be silent while it packs a file


class BuildContainer(DockerInstance):
    """A machine that files can be put into and taken from: alts.images.rpm_standin.Builder."""

    def push(self, path: str, archive: bytes) -> None:
        """Unpack a tar into the folder `path`, which is there. Raises EngineFailed."""
        with engine_errors(f"write files into {self.name}"):
            self._client.put_archive(self._container, path, archive)

    def fetch(self, path: str) -> Iterator[bytes]:
        """A file as a tar with one member, in pieces. Raises EngineFailed."""
        with engine_errors(f"read {path} from {self.name}"):
            pieces: Iterable[bytes]
            pieces, _ = self._client.get_archive(self._container, path)
            yield from pieces


class DockerBuilds:
    """Makes such containers: alts.images.rpm_standin.BuildEngine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @contextmanager
    def builder(self, image: str, *, labels: Mapping[str, str], seconds: float) -> Iterator[BuildContainer]:
        """A container of the image with that id. It ends by itself after `seconds`, whatever becomes of us.

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
                # By the labels: of a container whose making was cut short nobody has told us the id.
                self.remove_labelled(labels)

    def remove_labelled(self, labels: Mapping[str, str]) -> None:
        """Kill and remove every container with these labels. Raises EngineFailed."""
        for container in self._engine.containers(labels):
            self._engine.remove_container(container.id)
