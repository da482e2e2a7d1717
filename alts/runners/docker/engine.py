"""Docker engine client: images, containers and networks found by label, and containers that run commands.

Only this module and the embedded Terraform provider use the docker SDK. Supports unix:// and tcp:// hosts.
"""

from __future__ import annotations

import contextlib
import io
import posixpath
import queue
import re
import tarfile
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import requests.exceptions
import urllib3.exceptions
from docker import APIClient
from docker import errors as docker_errors
from docker.transport import UnixHTTPAdapter

from alts.core.command import BoundedOutput, Completed, OutputSink
from alts.core.instance import MachineRuined
from alts.core.stop import Stop, StopReason
from alts.runners.docker.death import ended_by_itself, ran_out_of_memory
from alts.runners.docker.disk import DiskWatch
from alts.runners.docker.exec import Command, CommandSurvives
from alts.runners.docker.startup import why_nothing_starts
from alts.shared.errors import DiskFull, InstanceLost, ProvisionFailed
from alts.shared.models.report import Kind

_ANSWER_TIMEOUT = 30  # seconds of silence allowed in a plain request
_PING_TIMEOUT = 3  # seconds for a usable engine to answer a ping
_LOAD_TIMEOUT = 300  # seconds for the engine to unpack an uploaded image
_CONNECTIONS = 32  # connections kept open for one worker's threads

_KILLED = 137  # 128 + SIGKILL
_STARTS = 5  # attempts to start a command: near the process limit, a start succeeds only by chance
_START_INTERVAL = 0.5  # seconds between two attempts
_DEATH_SECONDS = 1.5  # from the end of a machine's commands to its own
_ALIVE_INTERVAL = 0.1  # seconds between two liveness checks
_TAR_ROOM = 1 << 20  # bytes of tar overhead allowed besides the file itself
_LINKS = 8  # maximum length of a symlink chain

# urllib3 errors are not wrapped where the SDK reads a stream without requests.
_FRACTION = re.compile(r"\.\d+")
_ENGINE_ERRORS = (
    docker_errors.DockerException,
    requests.exceptions.RequestException,
    urllib3.exceptions.HTTPError,
    OSError,
)


class EngineFailed(ProvisionFailed):
    """The Docker engine did not answer, or refused a request."""


@dataclass(frozen=True)
class EngineImage:
    """An image in the engine."""

    id: str
    """Image id, e.g. "sha256:c333b6c3..."."""
    architecture: str
    """Docker's architecture name: "amd64", "386", "arm64"."""


@dataclass(frozen=True)
class Container:
    """A container, running or not."""

    id: str
    name: str
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Network:
    """A network of the engine."""

    id: str
    name: str
    labels: Mapping[str, str]
    subnets: tuple[str, ...]
    """Subnets in CIDR notation, e.g. ("172.17.0.0/16",)."""
    options: Mapping[str, str]


@contextmanager
def engine_errors(doing: str) -> Iterator[None]:
    """Turn SDK errors into EngineFailed. `doing` names the failed operation in the message."""
    try:
        yield
    except _ENGINE_ERRORS as error:
        raise EngineFailed(f"the Docker engine could not {doing}", details=_said(error)) from error


def _said(error: Exception) -> str:
    """Return the engine's own explanation if there is one, else the SDK's error text."""
    explanation = getattr(error, "explanation", None)
    return str(explanation or error)


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
        with engine_errors("say its version"):
            return str(self._client.version()["Version"])

    def architecture(self) -> str:
        """Return the engine host's architecture by Docker's name: "amd64" or "arm64"."""
        with engine_errors("say its architecture"):
            return str(self._client.version()["Arch"])

    def image(self, reference: str) -> EngineImage | None:
        """Look up an image by name or id. Returns None if the engine does not have it."""
        with engine_errors(f"look up the image {reference}"):
            try:
                found: Mapping[str, Any] = self._client.inspect_image(reference)
            except docker_errors.ImageNotFound:
                return None
        return EngineImage(id=found["Id"], architecture=found["Architecture"])

    def pull(self, reference: str, *, platform: str, stop: Stop, log: OutputSink, answer_within: float) -> None:
        """Pull an image (e.g. "debian:12") for a platform (e.g. "linux/amd64").

        `answer_within`: seconds until the registry's first response. Raises Stopped, EngineFailed.
        """
        with closing(self.connect(timeout=_ANSWER_TIMEOUT)) as client:
            _Pull(client, reference, platform=platform).follow(stop=stop, log=log, answer_within=answer_within)

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
            with engine_errors("say where its data is"):
                self._data_root = Path(str(self._client.info()["DockerRootDir"]))
        return self._data_root

    def containers(self, labels: Mapping[str, str | None]) -> tuple[Container, ...]:
        """List containers, running or not, that have all these labels. A None value matches any value."""
        wanted = _label_filters(labels)
        with engine_errors("list containers"):
            found = self._client.containers(all=True, filters={"label": wanted})
        return tuple(
            Container(id=one["Id"], name=(one["Names"] or ["/"])[0].lstrip("/"), labels=one["Labels"] or {})
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


class _Pull:
    """One pull, read in its own thread, because the engine is silent while the registry is."""

    def __init__(self, client: APIClient, reference: str, *, platform: str) -> None:
        self._client = client
        self._reference = reference
        self._platform = platform
        self._events: queue.Queue[Mapping[str, Any] | Exception | None] = queue.Queue()
        self._abandoned = threading.Event()

    def follow(self, *, stop: Stop, log: OutputSink, answer_within: float) -> None:
        thread = threading.Thread(target=self._read, name=f"pull {self._reference}", daemon=True)
        thread.start()
        answer_by = stop.within(answer_within)
        answered = False
        try:
            while (event := self._next()) is not None:
                answered = answered or bool(event)
                stop.check()
                if not answered and answer_by.reason:
                    raise EngineFailed(f"no registry answered for {self._reference} in {answer_within:.0f} s")
                if "error" in event:
                    raise EngineFailed(f"{self._reference} could not be pulled", details=str(event["error"]))
                # "progress" events arrive many times a second per layer.
                if "status" in event and "progress" not in event:
                    log(" ".join(filter(None, (event.get("id"), event["status"]))) + "\n")
        finally:
            self._abandoned.set()

    def _next(self) -> Mapping[str, Any] | None:
        """Return the next event, {} after 0.1 s without one, None at the end. Raises EngineFailed."""
        try:
            event = self._events.get(timeout=0.1)
        except queue.Empty:
            return {}
        if isinstance(event, Exception):
            raise EngineFailed(f"{self._reference} could not be pulled", details=_said(event)) from event
        return event

    def _read(self) -> None:
        name, _, tag = self._reference.rpartition(":")
        try:
            for event in self._client.pull(name, tag=tag, platform=self._platform, stream=True, decode=True):
                self._events.put(event)
                if self._abandoned.is_set():
                    # Leaving the stream closes the connection, and the engine then cancels the pull.
                    return
            self._events.put(None)
        except _ENGINE_ERRORS as error:
            self._events.put(error)


class DockerInstance:
    """A container as a machine: alts.runners.base.Instance."""

    def __init__(
        self,
        client: APIClient,
        container: str,
        *,
        name: str,
        prefix: Sequence[str] = (),
        disk: DiskWatch | None = None,
    ) -> None:
        """`prefix`: a wrapper program that executes the command, e.g. linux32(1)."""
        self._client = client
        self._container = container
        self._prefix = prefix
        self._disk = disk
        self._ended = False
        self.name = name

    def run(
        self,
        argv: Sequence[str],
        *,
        stop: Stop,
        env: Mapping[str, str] | None = None,
        sink: OutputSink | None = None,
    ) -> Completed:
        started = time.monotonic()
        output = BoundedOutput(sink)
        stopped, exit_code = stop.reason, None
        starts = 0
        while stopped is None:
            begun, stopped, exit_code = self._run([*self._prefix, *argv], stop=stop, env=env or {}, output=output)
            if begun or exit_code in (None, _KILLED):
                break
            starts += 1
            if starts == _STARTS:
                raise self._not_started(output.text()[-2000:])
            stop.sleep(_START_INTERVAL)
            output, stopped, exit_code = BoundedOutput(sink), stop.reason, None
        # A killed machine's commands also end with SIGKILL.
        if exit_code == _KILLED and self._dies():
            raise self._death(output.text()[-2000:])
        return Completed(
            argv=tuple(argv),
            exit_code=exit_code,
            output=output.text(),
            seconds=time.monotonic() - started,
            stopped=stopped,
        )

    def _run(
        self, argv: Sequence[str], *, stop: Stop, env: Mapping[str, str], output: BoundedOutput
    ) -> tuple[bool, StopReason | None, int | None]:
        """Run a command once. Returns whether it started, its stop reason and its exit code. Raises InstanceLost,
        MachineRuined or DiskFull."""
        command = Command(self._client, self._container, argv, env=env, output=output, errors=_ENGINE_ERRORS)
        disk = self._disk
        try:
            with command:
                stopped, exit_code = command.attend(stop, too_much=lambda: disk is not None and disk.look(stop))
        except (CommandSurvives, *_ENGINE_ERRORS) as error:
            if not command.killing or not self.alive():
                raise self._death(_said(error)) from error
            # No killer can be started in the machine any more, so the whole machine is killed.
            self._end()
            stopped, exit_code = stop.reason, None
        if disk is not None and disk.exceeded:
            raise MachineRuined(
                Kind.DISK_LIMIT_EXCEEDED,
                f"the machine has filled more than the {disk.limit_mb} MB of disk that it may",
                evidence=f"{disk.used >> 20} MB",
            )
        if disk is not None and disk.fills_host:
            raise DiskFull(
                f"the worker's disk is full, and the machine, which has {disk.used >> 20} MB of it, had to go",
                resolution=f"more room, or an instance_limits.disk_mb of less than {disk.limit_mb}",
            )
        return command.started, stopped, exit_code

    def _not_started(self, said: str) -> InstanceLost | MachineRuined:
        """Return why the engine cannot start anything in the machine. `said`: the engine's or the shell's message."""
        if self._dies():
            return self._death(said)
        try:
            if ruined := why_nothing_starts(self._client, self._container, said=said):
                return ruined
        except _ENGINE_ERRORS as error:
            said = f"{said}\n{_said(error)}"
        return InstanceLost(f"nothing can be started in {self.name}", details=said)

    def pull(self, path: str, *, stop: Stop, limit: int) -> bytes:
        for _ in range(_LINKS):
            try:
                chunks, _stat = self._client.get_archive(self._container, path)
                archive = io.BytesIO(_joined(chunks, path, stop=stop, limit=limit))
            except docker_errors.APIError as error:
                # 404 also if the machine is gone; 500 for a symlink loop.
                if self.alive():
                    raise FileNotFoundError(path) from error
                raise self._death(_said(error)) from error
            except _ENGINE_ERRORS as error:
                raise InstanceLost(f"{self.name} does not answer", details=_said(error)) from error
            with tarfile.open(fileobj=archive) as tar:
                member = tar.next()
                content = tar.extractfile(member) if member is not None and member.isreg() else None
                if content is not None and member is not None:
                    if member.size > limit:
                        raise _too_long(path, limit)
                    return content.read()
            if member is None or not member.issym():
                break
            # The engine follows symlinks in parent folders, not the last component.
            path = posixpath.join(posixpath.dirname(path), member.linkname)
        raise FileNotFoundError(f"{path} is not a file")

    def _dies(self) -> bool:
        """Return whether the machine is dead or dying. Its commands end before the engine notices its death."""
        until = time.monotonic() + _DEATH_SECONDS
        while self.alive():
            if time.monotonic() > until:
                return False
            time.sleep(_ALIVE_INTERVAL)
        return True

    def alive(self) -> bool:
        try:
            return bool(self._client.inspect_container(self._container)["State"]["Running"])
        except _ENGINE_ERRORS:
            return False

    def check(self) -> None:
        if not self._ended and not self.alive():
            raise self._death("")

    def _end(self) -> None:
        with engine_errors(f"end {self.name}"):
            self._client.kill(self._container)
        self._ended = True

    def _engine_time(self) -> int:
        """Return the engine's clock in seconds since the epoch."""
        # E.g. "2026-11-27T02:31:04.123456789Z"; datetime parses at most six fractional digits.
        said = _FRACTION.sub("", self._client.info()["SystemTime"])
        return int(datetime.fromisoformat(said).timestamp())

    def _death(self, details: str) -> InstanceLost | MachineRuined:
        """Return the error for a machine that is gone or silent, with the cause if it can be determined."""
        try:
            state = self._client.inspect_container(self._container)["State"]
            if not state["Running"]:
                # A second from now: the engine reports a kill shortly after it.
                # By the engine's clock: if ours were ahead, the engine would wait until that time.
                events = list(self._client.events(since=1, until=self._engine_time() + 1, decode=True))
                if ran_out_of_memory(self._container, state, events):
                    return MachineRuined(
                        Kind.OUT_OF_MEMORY, "the machine's memory ran out, so the kernel ended it", evidence=details
                    )
                if ended_by_itself(self._container, state, events):
                    return MachineRuined(
                        None,
                        "something that ran in the machine has ended its first process",
                        evidence=f"exit code {state['ExitCode']}",
                    )
                return InstanceLost(f"{self.name} is gone", details=details)
        except docker_errors.NotFound:
            return InstanceLost(f"{self.name} is gone", details=details)
        except _ENGINE_ERRORS as error:
            # An unreachable engine matters more than the silent machine.
            return InstanceLost(f"the Docker engine does not answer: {_said(error)[:300]}", details=details)
        return InstanceLost(f"{self.name} does not answer", details=details)


def _joined(chunks: Generator[bytes, None, None], path: str, *, stop: Stop, limit: int) -> bytes:
    """Join the chunks of one file's tar. Raises Stopped, or MachineRuined if it is too long: see Instance.pull."""
    archive = bytearray()
    with closing(chunks):
        for chunk in chunks:
            stop.check()
            archive += chunk
            if len(archive) > limit + _TAR_ROOM:
                raise _too_long(path, limit)
    return bytes(archive)


def _too_long(path: str, limit: int) -> MachineRuined:
    return MachineRuined(None, f"{path} has grown to more than {limit} bytes")


# Without linux32, `uname -m` prints x86_64 in an i386 container, and programs build or fetch the wrong thing.
# linux32 is in util-linux, which every Debian has.
_PREFIXES: Mapping[str, Sequence[str]] = {"386": ("linux32",)}
