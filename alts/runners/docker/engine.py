"""Docker engine client: images, and containers and networks found by label. Supports unix:// and tcp:// hosts."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from docker import APIClient
from docker import errors as docker_errors
from docker.transport import UnixHTTPAdapter

from alts.core.output import OutputSink
from alts.core.stop import Stop
from alts.runners.docker.disk import DiskWatch
from alts.runners.docker.engine_time import epoch_seconds
from alts.runners.docker.errors import EngineFailed, engine_errors
from alts.runners.docker.instance import DockerInstance
from alts.runners.docker.pull import Pull

_ANSWER_TIMEOUT = 30  # seconds of silence allowed in a plain request
_PING_TIMEOUT = 3  # seconds for a usable engine to answer a ping
_LOAD_TIMEOUT = 300  # seconds for the engine to unpack an uploaded image
_CONNECTIONS = 32  # connections kept open for one worker's threads

# Without linux32, `uname -m` prints x86_64 in an i386 container, and programs build or fetch the wrong thing.
# linux32 is in util-linux, which every Debian has.
_PREFIXES: Mapping[str, Sequence[str]] = {"386": ("linux32",)}


@dataclass(frozen=True)
class EngineImage:
    """An image in the engine."""

    id: str
    """Image id, e.g. "sha256:c333b6c3..."."""
    architecture: str
    """Docker's architecture name: "amd64", "386", "arm64"."""
    labels: Mapping[str, str] = field(default_factory=dict)
    names: Sequence[str] = field(default=(), compare=False)
    """Its references, e.g. ("debian:12",)."""


@dataclass(frozen=True)
class Container:
    """A container, running or not."""

    id: str
    name: str
    labels: Mapping[str, str]
    made_at: int = 0
    """Seconds since the epoch, by the engine's clock."""


@dataclass(frozen=True)
class Network:
    """A network of the engine."""

    id: str
    name: str
    labels: Mapping[str, str]
    subnets: tuple[str, ...]
    """Subnets in CIDR notation, e.g. ("172.17.0.0/16",)."""
    options: Mapping[str, str]
    made_at: int = 0
    """Seconds since the epoch, by the engine's clock."""


class Engine:
    """Client of one Docker engine. Thread-safe. Connects on first use.

    Methods raise EngineFailed if the engine does not answer or refuses, unless they say otherwise.
    """

    def __init__(self, docker_host: str) -> None:
        self._docker_host = docker_host
        self._lock = threading.Lock()
        self._shared: APIClient | None = None
        self._data_root: Path | None = None

    def version(self) -> str:
        """Return the engine version, e.g. "20.10.24+dfsg1"."""
        with engine_errors("report its version"):
            return str(self._client.version()["Version"])

    def architecture(self) -> str:
        """Return the engine host's architecture by Docker's name: "amd64" or "arm64"."""
        with engine_errors("report its architecture"):
            return str(self._client.version()["Arch"])

    def image(self, reference: str) -> EngineImage | None:
        """Look up an image by name or id. Returns None if the engine does not have it."""
        with engine_errors(f"look up the image {reference}"):
            try:
                found: Mapping[str, Any] = self._client.inspect_image(reference)
            except docker_errors.ImageNotFound:
                return None
        return _engine_image(found)

    def images(self, label: str) -> tuple[EngineImage, ...]:
        """List images that have the label, with any value."""
        with engine_errors("list images"):
            listed = self._client.images(filters={"label": label})
            return tuple(_engine_image(self._client.inspect_image(one["Id"])) for one in listed)

    def remove_image(self, image: str) -> None:
        """Remove an image by its id. Leaves an image that a container or another image is made of."""
        with engine_errors(f"remove the image {image}"), contextlib.suppress(docker_errors.ImageNotFound):
            try:
                self._client.remove_image(image, force=True)
            except docker_errors.APIError as error:
                if error.status_code != requests.codes.conflict:
                    raise

    def pull(self, reference: str, *, platform: str, stop: Stop, log: OutputSink, answer_within: float) -> None:
        """Pull an image (e.g. "debian:12") for a platform (e.g. "linux/amd64").

        `answer_within`: seconds until the registry's first response. Raises Stopped, EngineFailed.
        """
        with closing(self.connect(timeout=_ANSWER_TIMEOUT)) as client:
            Pull(client, reference, platform=platform).follow(stop=stop, log=log, answer_within=answer_within)

    def load(self, archive: Iterable[bytes], *, stop: Stop) -> None:
        """Load the images of a docker-archive. Raises Stopped, EngineFailed."""
        with engine_errors("load an image"), closing(self.connect(timeout=_LOAD_TIMEOUT)) as client:
            for event in client.load_image(_until(stop, archive)):
                if "error" in event:
                    raise docker_errors.ImageLoadError(event["error"])

    def tag(self, image: str, reference: str) -> None:
        """Add a name:tag reference to an image."""
        name, _, tag = reference.rpartition(":")
        with engine_errors(f"tag an image as {reference}"):
            self._client.tag(image, name, tag)

    def trouble(self) -> str:
        """Return why the engine does not answer, in one line; empty if it does. Times out in 3 s; no EngineFailed."""
        try:
            # connect() asks for the version first. Uses a new connection: a kept one may belong to a dead engine.
            with engine_errors("answer"), closing(self.connect(timeout=_PING_TIMEOUT)) as client:
                client.ping()
        except EngineFailed as error:
            return f"{error}: {error.details or error.__cause__}".strip(": ")
        return ""

    def data_root(self) -> Path | None:
        """Return the engine's data folder on this host; None if the engine is not on a unix socket."""
        if not self._docker_host.startswith("unix://"):
            return None
        if self._data_root is None:
            with engine_errors("report its data folder"):
                self._data_root = Path(str(self._client.info()["DockerRootDir"]))
        return self._data_root

    def time(self) -> int:
        """Return the engine's clock in seconds since the epoch."""
        with engine_errors("tell the time"):
            return epoch_seconds(self._client.info()["SystemTime"])

    def containers(self, labels: Mapping[str, str | None]) -> tuple[Container, ...]:
        """List containers, running or not, that have all these labels. A None value matches any value."""
        wanted = _label_filters(labels)
        with engine_errors("list containers"):
            found = self._client.containers(all=True, filters={"label": wanted})
        return tuple(
            Container(
                id=one["Id"],
                name=(one["Names"] or ["/"])[0].lstrip("/"),
                labels=one["Labels"] or {},
                made_at=one["Created"],
            )
            for one in found
        )

    def remove_container(self, container: str) -> None:
        """Kill and remove a container and its anonymous volumes. Ignores a missing container."""
        with engine_errors(f"remove the container {container}"):
            try:
                self._client.remove_container(container, force=True, v=True)
            except docker_errors.NotFound:
                return
            except docker_errors.APIError as error:
                # Another client is removing it: "removal of container ... is already in progress".
                if error.status_code != requests.codes.conflict:
                    raise

    def networks(self, labels: Mapping[str, str | None] | None = None) -> tuple[Network, ...]:
        """List networks that have all these labels; all networks if none are given. None matches any value."""
        wanted = _label_filters(labels or {})
        with engine_errors("list networks"):
            found = self._client.networks(filters={"label": wanted})
        return tuple(
            Network(
                id=one["Id"],
                name=one["Name"],
                labels=one["Labels"] or {},
                subnets=tuple(pool["Subnet"] for pool in (one["IPAM"] or {}).get("Config") or () if "Subnet" in pool),
                options=one["Options"] or {},
                made_at=epoch_seconds(one["Created"]),
            )
            for one in found
        )

    def remove_network(self, network: str) -> None:
        """Remove a network, even with containers attached. Ignores a missing network."""
        with engine_errors(f"remove the network {network}"), contextlib.suppress(docker_errors.NotFound):
            try:
                self._client.remove_network(network)
            except docker_errors.APIError as error:
                if error.status_code != requests.codes.forbidden:
                    raise
                # "has active endpoints": a container that the engine has lost track of is still attached.
                for container in self._client.inspect_network(network)["Containers"] or ():
                    with contextlib.suppress(docker_errors.NotFound):
                        self._client.disconnect_container_from_network(container, network, force=True)
                self._client.remove_network(network)

    def instance(self, container: str, *, name: str, disk_mb: int | None = None) -> DockerInstance:
        """Return a running container as a machine. On an i386 image, commands see a 32-bit kernel.

        `disk_mb`: disk limit in MiB; None for no limit.
        """
        with engine_errors(f"look up the container {name}"):
            image: Mapping[str, Any] = self._client.inspect_image(self._client.inspect_container(container)["Image"])
        return DockerInstance(
            self._client,
            container,
            name=name,
            prefix=_PREFIXES.get(image["Architecture"], ()),
            disk=None if disk_mb is None else DiskWatch(self._client, container, limit_mb=disk_mb),
        )

    def limit_processes(self, container: str, *, pids: int) -> None:
        """Set the process limit of a running container. Raises EngineFailed."""
        with engine_errors(f"limit the processes of {container}"):
            # The SDK's update_container() has no parameter for it.
            url = f"{self._client.base_url}/v{self._client.api_version}/containers/{container}/update"
            self._client.post(url, json={"PidsLimit": pids}, timeout=_ANSWER_TIMEOUT).raise_for_status()

    def close(self) -> None:
        with self._lock:
            if self._shared is not None:
                self._shared.close()
                self._shared = None

    @property
    def _client(self) -> APIClient:
        with self._lock:
            if self._shared is None:
                self._shared = self.connect(timeout=_ANSWER_TIMEOUT)
            return self._shared

    def connect(self, *, timeout: int) -> APIClient:
        """Open a separate client with its own `timeout` (seconds). The caller closes it. Raises EngineFailed."""
        with engine_errors(f"be reached at {self._docker_host}"):
            client = APIClient(self._docker_host, version="auto", timeout=timeout, max_pool_size=_CONNECTIONS)
            scheme, _, path = self._docker_host.partition("://")
            if scheme == "unix":
                client.get_adapter(client.base_url).close()
                client.mount("http+docker://", _OnePool(path, timeout=timeout, max_pool_size=_CONNECTIONS))
            return client


def _engine_image(found: Mapping[str, Any]) -> EngineImage:
    return EngineImage(
        id=found["Id"],
        architecture=found["Architecture"],
        labels=(found.get("Config") or {}).get("Labels") or {},
        names=tuple(found.get("RepoTags") or ()),
    )


def _label_filters(labels: Mapping[str, str | None]) -> list[str]:
    return [key if value is None else f"{key}={value}" for key, value in labels.items()]


class _OnePool(UnixHTTPAdapter):
    """Adapter with one connection pool per engine.

    The SDK keeps one pool per URL, and URLs contain container or exec ids. It closes the oldest of 25 pools even while
    another thread is about to take a connection from it (docker/transport/unixconn.py).
    """

    def get_connection(self, url: str | bytes, proxies: Any = None) -> Any:  # noqa: ARG002
        return super().get_connection("http+docker://localhost", proxies)


def _until(stop: Stop, chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        stop.check()
        yield chunk
