"""A container as a machine: runs commands, reads files, says how it died."""

from __future__ import annotations

import io
import posixpath
import tarfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing

from docker import APIClient
from docker import errors as docker_errors

from alts.core.command import Completed
from alts.core.instance import MachineRuined
from alts.core.output import BoundedOutput, OutputSink
from alts.core.stop import Stop, StopReason
from alts.runners.docker.death import ended_by_itself, ran_out_of_memory
from alts.runners.docker.disk import DiskWatch
from alts.runners.docker.engine_time import epoch_seconds
from alts.runners.docker.errors import ENGINE_ERRORS, engine_errors, said_by
from alts.runners.docker.exec import Command, CommandSurvives
from alts.runners.docker.shell import Shell, ShellCommand, ShellLost
from alts.runners.docker.startup import why_nothing_starts
from alts.shared.errors import DiskFull, InstanceLost
from alts.shared.models.report import Kind

_KILLED = 137  # 128 + SIGKILL
# Exit codes that may say something of the shell, or of the machine's death: an exec of its own tells more.
_DOUBTED = (126, 127, _KILLED)
# A pipe or a device would never end.
_READER = '[ -f "$1" ] && exec head -c "$2" -- "$1"'
_STARTS = 5  # attempts to start a command: near the process limit, a start succeeds only by chance
_START_INTERVAL = 0.5  # seconds between two attempts
_DEATH_SECONDS = 1.5  # from the end of a machine's commands to its own
_ALIVE_INTERVAL = 0.1  # seconds between two liveness checks
_TAR_ROOM = 1 << 20  # bytes of tar overhead allowed besides the file itself
_LINKS = 8  # maximum length of a symlink chain


class DockerInstance:
    """A container as a machine: alts.core.instance.Instance."""

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
        self._shell = Shell(client, container, prefix=prefix, errors=ENGINE_ERRORS)
        self._ended = False
        self.name = name

    def run(
        self,
        argv: Sequence[str],
        *,
        stop: Stop,
        env: Mapping[str, str] | None = None,
        sink: OutputSink | None = None,
        repeatable: bool = False,
    ) -> Completed:
        started = time.monotonic()
        output = BoundedOutput()
        answered = self._ask(argv, stop=stop, env=env or {}, take=output.feed) if repeatable else None
        if answered is not None and answered[1] not in _DOUBTED:
            stopped, exit_code = answered
            if sink is not None:
                sink(output.text())
        else:
            output, stopped, exit_code = self._execute(argv, stop=stop, env=env or {}, sink=sink)
        return Completed(
            argv=tuple(argv),
            exit_code=exit_code,
            output=output.text(),
            seconds=time.monotonic() - started,
            stopped=stopped,
        )

    def _ask(
        self, argv: Sequence[str], *, stop: Stop, env: Mapping[str, str], take: Callable[[bytes], object]
    ) -> tuple[StopReason | None, int | None] | None:
        """Run a command in the open shell. Returns its stop reason and its exit code; None if the shell cannot say.

        Raises what _attended() raises.
        """
        if stop.reason is not None:
            return None
        try:
            return self._attended(self._shell.command(argv, env=env, take=take), stop=stop)[1:]
        except ShellLost:
            return None

    def _execute(
        self, argv: Sequence[str], *, stop: Stop, env: Mapping[str, str], sink: OutputSink | None
    ) -> tuple[BoundedOutput, StopReason | None, int | None]:
        """Run a command with an exec of its own. Returns its output, its stop reason and its exit code."""
        output = BoundedOutput(sink)
        stopped, exit_code = stop.reason, None
        starts = 0
        while stopped is None:
            command = Command(
                self._client,
                self._container,
                [*self._prefix, *argv],
                env=env,
                take=output.feed,
                errors=ENGINE_ERRORS,
            )
            begun, stopped, exit_code = self._attended(command, stop=stop)
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
        return output, stopped, exit_code

    def _attended(self, command: Command | ShellCommand, *, stop: Stop) -> tuple[bool, StopReason | None, int | None]:
        """Run a command once. Returns whether it started, its stop reason and its exit code.

        Raises InstanceLost, MachineRuined, DiskFull, or ShellLost for a command in the shell.
        """
        disk = self._disk
        try:
            with command:
                stopped, exit_code = command.attend(stop, too_much=lambda: disk is not None and disk.look(stop))
        except (CommandSurvives, *ENGINE_ERRORS) as error:
            if not command.killing or not self.alive():
                raise self._death(said_by(error)) from error
            # No killer can be started in the machine any more, so the whole machine is killed.
            self._end()
            stopped, exit_code = stop.reason, None
        if disk is not None and disk.exceeded:
            raise MachineRuined(
                Kind.DISK_LIMIT_EXCEEDED,
                f"the machine used more than its disk limit of {disk.limit_mb} MB",
                evidence=f"{disk.used >> 20} MB",
            )
        if disk is not None and disk.fills_host:
            raise DiskFull(
                f"the worker's disk is full: the machine, which used {disk.used >> 20} MB, was stopped",
                resolution=f"free disk space on the worker, or set instance_limits.disk_mb below {disk.limit_mb}",
            )
        return command.started, stopped, exit_code

    def _not_started(self, said: str) -> InstanceLost | MachineRuined:
        """Return why the engine cannot start anything in the machine. `said`: the engine's or the shell's message."""
        if self._dies():
            return self._death(said)
        try:
            if ruined := why_nothing_starts(self._client, self._container, said=said):
                return ruined
        except ENGINE_ERRORS as error:
            said = f"{said}\n{said_by(error)}"
        return InstanceLost(f"no command can be started in {self.name}", details=said)

    def pull(self, path: str, *, stop: Stop, limit: int) -> bytes:
        content = self._read(path, stop=stop, limit=limit)
        if content is None:
            content = self._fetch(path, stop=stop, limit=limit)
        if len(content) > limit:
            raise _too_long(path, limit)
        return content

    def _read(self, path: str, *, stop: Stop, limit: int) -> bytes | None:
        """Read a file in the open shell, at most a byte more than `limit`. Returns None if that did not work."""
        content = bytearray()

        def take(data: bytes) -> None:
            # A package that has taken over the shell could send more than the file.
            content.extend(data[: limit + 1 - len(content)])

        answered = self._ask(("/bin/sh", "-c", _READER, "sh", path, str(limit + 1)), stop=stop, env={}, take=take)
        return bytes(content) if answered == (None, 0) else None

    def _fetch(self, path: str, *, stop: Stop, limit: int) -> bytes:
        """Read a file through the engine. Raises what pull() raises."""
        stop.check()
        for _ in range(_LINKS):
            try:
                chunks, _stat = self._client.get_archive(self._container, path)
                archive = io.BytesIO(_joined(chunks, path, stop=stop, limit=limit))
            except docker_errors.APIError as error:
                # 404 also if the machine is gone; 500 for a symlink loop.
                if self.alive():
                    raise FileNotFoundError(path) from error
                raise self._death(said_by(error)) from error
            except ENGINE_ERRORS as error:
                raise InstanceLost(f"{self.name} does not answer", details=said_by(error)) from error
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
        except ENGINE_ERRORS:
            return False

    def check(self) -> None:
        if not self._ended and not self.alive():
            raise self._death("")

    def close(self) -> None:
        self._shell.close()

    def _end(self) -> None:
        with engine_errors(f"end {self.name}"):
            self._client.kill(self._container)
        self._ended = True

    def _engine_time(self) -> int:
        """Return the engine's clock in seconds since the epoch."""
        return epoch_seconds(self._client.info()["SystemTime"])

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
                        "a process in the machine ended its first process (PID 1)",
                        evidence=f"exit code {state['ExitCode']}",
                    )
                return InstanceLost(f"{self.name} is gone", details=details)
        except docker_errors.NotFound:
            return InstanceLost(f"{self.name} is gone", details=details)
        except ENGINE_ERRORS as error:
            # An unreachable engine matters more than the silent machine.
            return InstanceLost(f"the Docker engine does not answer: {said_by(error)[:300]}", details=details)
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
