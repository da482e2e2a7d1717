"""The Docker engine: images, containers found by label, and a container as a machine to run commands in.

The only user of the docker SDK beside the embedded Terraform provider. Engines are reached by unix:// and tcp://.
"""

from __future__ import annotations

import io
import posixpath
import queue
import secrets
import select
import socket
import tarfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import requests.exceptions
import urllib3.exceptions
from docker import APIClient
from docker import errors as docker_errors

from alts.command import BoundedOutput, Completed, OutputSink
from alts.shared.errors import InstanceLost, ProvisionFailed
from alts.stop import Stop, StopReason
from alts.tools.docker_stream import STDOUT, FirstLine, FrameReader

_ANSWER_TIMEOUT = 30.0  # seconds that the engine may be silent in a plain request
_LOAD_TIMEOUT = 300.0  # seconds in which the engine must have unpacked an image it was sent
_CONNECTIONS = 32  # kept open for the threads of one worker

# urllib3's errors come through where the SDK reads a stream without the help of requests.
_ENGINE_ERRORS = (
    docker_errors.DockerException,
    requests.exceptions.RequestException,
    urllib3.exceptions.HTTPError,
    OSError,
)


class EngineFailed(ProvisionFailed):
    """The Docker engine does not answer, or refused what it was asked for."""


@dataclass(frozen=True)
class EngineImage:
    """An image in the engine."""

    id: str
    """Such as "sha256:c333b6c3..."."""
    architecture: str
    """In Docker's words: "amd64", "386", "arm64"."""


@dataclass(frozen=True)
class Container:
    """A container, running or not."""

    id: str
    name: str
    labels: Mapping[str, str]


@contextmanager
def engine_errors(doing: str) -> Iterator[None]:
    """Whatever the SDK raises becomes EngineFailed, saying what the engine could not do."""
    try:
        yield
    except _ENGINE_ERRORS as error:
        raise EngineFailed(f"the Docker engine could not {doing}", details=_said(error)) from error


def _said(error: Exception) -> str:
    """The engine's own words, where there are some, without the SDK's request around them."""
    explanation = getattr(error, "explanation", None)
    return str(explanation or error)


class Engine:
    """A Docker engine. Threads may share it; it is reached for with the first call.

    Every method raises EngineFailed where the engine does not answer or refuses.
    """

    def __init__(self, docker_host: str) -> None:
        self._docker_host = docker_host
        self._lock = threading.Lock()
        self._shared: APIClient | None = None

    def version(self) -> str:
        """Such as "20.10.24+dfsg1"."""
        with engine_errors("say its version"):
            return str(self._client.version()["Version"])

    def architecture(self) -> str:
        """Of the host that it runs on, in Docker's words: "amd64" or "arm64"."""
        with engine_errors("say its architecture"):
            return str(self._client.version()["Arch"])

    def image(self, reference: str) -> EngineImage | None:
        """The image of that name or id; None where the engine has none."""
        with engine_errors(f"look up the image {reference}"):
            try:
                found: Mapping[str, Any] = self._client.inspect_image(reference)
            except docker_errors.ImageNotFound:
                return None
        return EngineImage(id=found["Id"], architecture=found["Architecture"])

    def pull(self, reference: str, *, platform: str, stop: Stop, log: OutputSink, answer_within: float) -> None:
        """Fetch an image such as "debian:12" for a platform such as "linux/amd64".

        `answer_within`: seconds that the registry has for its first word. Raises Stopped, EngineFailed.
        """
        with closing(self.connect(timeout=_ANSWER_TIMEOUT)) as client:
            _Pull(client, reference, platform=platform).follow(stop=stop, log=log, answer_within=answer_within)

    def load(self, archive: Iterable[bytes], *, stop: Stop) -> None:
        """Take in the images of a docker-archive. Raises Stopped, EngineFailed."""
        with engine_errors("load an image"), closing(self.connect(timeout=_LOAD_TIMEOUT)) as client:
            for event in client.load_image(_until(stop, archive)):
                if "error" in event:
                    raise docker_errors.ImageLoadError(event["error"])

    def tag(self, image: str, reference: str) -> None:
        """Give an image one more name."""
        name, _, tag = reference.rpartition(":")
        with engine_errors(f"tag an image as {reference}"):
            self._client.tag(image, name, tag)

    def containers(self, labels: Mapping[str, str]) -> tuple[Container, ...]:
        """The containers, running or not, that carry all these labels."""
        wanted = [f"{key}={value}" for key, value in labels.items()]
        with engine_errors("list containers"):
            found = self._client.containers(all=True, filters={"label": wanted})
        return tuple(
            Container(id=one["Id"], name=(one["Names"] or ["/"])[0].lstrip("/"), labels=one["Labels"] or {})
            for one in found
        )

    def remove_container(self, container: str) -> None:
        """Kill and remove a container and its anonymous volumes. One that is not there is fine."""
        with engine_errors(f"remove the container {container}"):
            try:
                self._client.remove_container(container, force=True, v=True)
            except docker_errors.NotFound:
                return
            except docker_errors.APIError as error:
                # Somebody else is at it: "removal of container ... is already in progress".
                if error.status_code != requests.codes.conflict:
                    raise

    def instance(self, container: str, *, name: str) -> DockerInstance:
        """A running container as a machine. What runs on a 32-bit PC's image is told that the kernel is one, too."""
        with engine_errors(f"look up the container {name}"):
            image: Mapping[str, Any] = self._client.inspect_image(self._client.inspect_container(container)["Image"])
        return DockerInstance(self._client, container, name=name, prefix=_PREFIXES.get(image["Architecture"], ()))

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

    def connect(self, *, timeout: float) -> APIClient:
        """Connections of their own, for whoever waits longer than a plain request does; the caller closes them."""
        with engine_errors(f"be reached at {self._docker_host}"):
            # Whole seconds are what the stubs want; requests takes either.
            return APIClient(
                self._docker_host, version="auto", timeout=int(timeout), max_pool_size=_CONNECTIONS, num_pools=4
            )


def _until(stop: Stop, chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        stop.check()
        yield chunk


class _Pull:
    """One pull, read in a thread of its own: the engine is silent for as long as the registry is."""

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
                # What has a "progress" comes many times a second and a layer.
                if "status" in event and "progress" not in event:
                    log(" ".join(filter(None, (event.get("id"), event["status"]))) + "\n")
        finally:
            self._abandoned.set()

    def _next(self) -> Mapping[str, Any] | None:
        """The next event; an empty one where nothing came in a while, None at the end."""
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
                    # The engine ends a pull whose client hangs up, which is what leaving the stream does.
                    return
            self._events.put(None)
        except _ENGINE_ERRORS as error:
            self._events.put(error)


class DockerInstance:
    """A container as a machine: alts.runners.base.Instance."""

    def __init__(self, client: APIClient, container: str, *, name: str, prefix: Sequence[str] = ()) -> None:
        """`prefix`: a program that sets something and becomes the command, such as linux32(1)."""
        self._client = client
        self._container = container
        self._prefix = prefix
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
        if stopped is None:
            try:
                with _Command(
                    self._client, self._container, [*self._prefix, *argv], env=env or {}, output=output
                ) as command:
                    stopped, exit_code = command.attend(stop)
            except _ENGINE_ERRORS as error:
                raise InstanceLost(f"{self.name} does not answer", details=_said(error)) from error
        # A machine that is killed takes its commands along, and they end as if somebody had killed them.
        if exit_code == _KILLED and not self.alive():
            raise InstanceLost(f"{self.name} is gone", details=output.text()[-2000:])
        return Completed(
            argv=tuple(argv),
            exit_code=exit_code,
            output=output.text(),
            seconds=time.monotonic() - started,
            stopped=stopped,
        )

    def pull(self, path: str) -> bytes:
        for _ in range(_LINKS):
            try:
                chunks, _stat = self._client.get_archive(self._container, path)
                archive = io.BytesIO(b"".join(chunks))
            except docker_errors.NotFound as error:
                if self.alive():
                    raise FileNotFoundError(path) from error
                raise InstanceLost(f"{self.name} is gone", details=_said(error)) from error
            except _ENGINE_ERRORS as error:
                raise InstanceLost(f"{self.name} does not answer", details=_said(error)) from error
            with tarfile.open(fileobj=archive) as tar:
                member = tar.next()
                content = tar.extractfile(member) if member is not None and member.isreg() else None
                if content is not None:
                    return content.read()
            if member is None or not member.issym():
                break
            # The engine follows links in the folders above, not the last one.
            path = posixpath.join(posixpath.dirname(path), member.linkname)
        raise FileNotFoundError(f"{path} is not a file")

    def alive(self) -> bool:
        try:
            return bool(self._client.inspect_container(self._container)["State"]["Running"])
        except _ENGINE_ERRORS:
            return False


_KILLED = 137  # 128 + SIGKILL
# Without it `uname -m` says x86_64 in an i386 container, and what looks at that builds or fetches the wrong thing. It
# is in util-linux, which every Debian has.
_PREFIXES: Mapping[str, Sequence[str]] = {"386": ("linux32",)}
_LINKS = 8  # symbolic links in a row that are followed

_LOOK_INTERVAL = 0.1  # seconds between two looks at the Stop
_INSPECT_INTERVAL = 0.2  # seconds between two questions whether a command still runs
_DRAIN_SECONDS = 0.3  # for output that is on its way when a command has ended
_CLOSED_INTERVAL = 0.02  # seconds between two such questions once its output is closed: it ends in that moment
_KILL_SECONDS = 10.0  # for a command to be gone once it was killed
_PIECE = 65_536

# Waits for our word, so that no output can come together with the engine's reply, of which the SDK gives us only the
# connection and drops what it has read ahead. Then says its process id and becomes the program, argv[0] and on.
# Standard output and error are one pipe, which keeps their order: the engine reads two in whichever order it likes.
_WRAPPER = 'read -r _; echo $$; exec "$@" </dev/null 2>&1'

# Kills the process $1 and all that it started, however deep and even in sessions of their own (apt runs dpkg in one):
# its session, their children, and whoever has the variable $2 in its environment. Fields of stat: proc(5).
_KILLER = r"""
doomed=" $1 " mark=$2 round=0
while [ $((round += 1)) -le 20 ]; do
    for file in $(grep -lszxF -- "$mark" /proc/[0-9]*/environ); do
        file=${file#/proc/}
        doomed="$doomed${file%/environ} "
    done
    found=
    for file in /proc/[0-9]*/stat; do
        { read -r stat < "$file"; } 2>/dev/null || continue
        pid=${stat%% *}
        set -- ${stat##*) }
        [ "$1" != Z ] || continue
        case $doomed in *" $pid "* | *" $2 "* | *" $4 "*) doomed="$doomed$pid " found="$found $pid" ;; esac
    done
    [ -n "$found" ] || exit 0
    kill -KILL $found 2>/dev/null
    sleep 0.05
done
exit 1
"""


class _Command:
    """One command in a container: started on entering, its connection closed on leaving."""

    def __init__(
        self, client: APIClient, container: str, argv: Sequence[str], *, env: Mapping[str, str], output: BoundedOutput
    ) -> None:
        self._client = client
        self._container = container
        self._mark = f"ALTS_COMMAND={secrets.token_hex(8)}"
        self._cmd = ["/bin/sh", "-c", _WRAPPER, "sh", *argv]
        self._env = [*(f"{key}={value}" for key, value in env.items()), self._mark]
        self._output = output
        self._frames = FrameReader()
        self._first = FirstLine()
        self._open = True

    def __enter__(self) -> _Command:
        self._id: str = self._client.exec_create(self._container, self._cmd, stdin=True, environment=self._env)["Id"]
        raw: Any = self._client.exec_start(self._id, socket=True)
        self._stream = raw
        # What the SDK hands out can only be read from: a socket of our own on the same connection can do both.
        self._socket = socket.socket(fileno=socket.dup(self._stream.fileno()))
        self._socket.settimeout(_ANSWER_TIMEOUT)
        self._socket.sendall(b"\n")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._socket.close()
        # The SDK hangs the reply on its connection, a cycle that holds it open until some garbage collection
        # (docker/api/client.py, _get_raw_response_socket).
        self._stream._response.close()

    def attend(self, stop: Stop) -> tuple[StopReason | None, int | None]:
        """Take the output until the command ends; kill it when `stop` says so. Why it was stopped, and its exit code.

        Raises InstanceLost where it cannot be killed.
        """
        look_at = time.monotonic() + _LOOK_INTERVAL
        while not (reason := stop.reason):
            if self._open:
                self._read(_LOOK_INTERVAL)
            # A child in the background may hold the output open for as long as it likes, and a command may close it and
            # go on. While such a child writes, the engine itself needs 2-4 s to notice the command's end.
            if not self._open or time.monotonic() >= look_at:
                if (code := self._exit_code(self._id)) is not None:
                    self._drain(_DRAIN_SECONDS)
                    self._output.feed(self._first.foreign)
                    return None, code
                look_at = time.monotonic() + _INSPECT_INTERVAL
                if not self._open:
                    stop.sleep(_CLOSED_INTERVAL)
        self._kill()
        self._drain(_DRAIN_SECONDS)
        return reason, None

    def _read(self, seconds: float) -> None:
        if not select.select([self._socket], [], [], seconds)[0]:
            return
        data = self._socket.recv(_PIECE)
        self._open = bool(data)
        for stream, part in self._frames.feed(data):
            self._output.feed(self._first.feed(part) if stream == STDOUT else part)

    def _drain(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self._open and (left := until - time.monotonic()) > 0:
            self._read(left)

    def _exit_code(self, command: str) -> int | None:
        state = self._client.exec_inspect(command)
        return None if state["Running"] else state["ExitCode"]

    def _kill(self) -> None:
        """Kill the command and what it started. Again until it is gone: it may have been about to start."""
        until = time.monotonic() + _KILL_SECONDS
        killer = None
        while time.monotonic() < until:
            if killer is None:
                # Its first line may still be on its way; what has just started is found by its mark.
                argv = ["/bin/sh", "-c", _KILLER, "sh", str(self._first.number or "none"), self._mark]
                killer = self._client.exec_create(self._container, argv)["Id"]
                self._client.exec_start(killer, detach=True)
            # Reading goes on: the engine handles no end of a command while it cannot get rid of another's output.
            self._drain(_LOOK_INTERVAL)
            if not self._open:
                time.sleep(_CLOSED_INTERVAL)
            killed = self._exit_code(killer)
            if killed == 0 and self._exit_code(self._id) is not None:
                return
            if killed is not None:
                killer = None
        raise InstanceLost("a command cannot be killed")
