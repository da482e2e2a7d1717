"""Docker exec of one command: reads its output and, on a stop, kills it with all its descendants.

By hand: exec_run() of the SDK blocks until the command ends, and the API has no call that kills an exec.
"""

from __future__ import annotations

import secrets
import select
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from alts.core.stop import Stop, StopReason
from alts.runners.docker.frames import STDOUT, FirstLine, FrameReader

_START_TIMEOUT = 30  # seconds for the engine to accept the start line
_LOOK_INTERVAL = 0.1  # seconds between two checks of the Stop
_INSPECT_INTERVAL = 0.2  # seconds between two checks whether a command still runs
_DRAIN_SECONDS = 0.3  # for output still in transit when a command has ended
_CLOSED_INTERVAL = 0.02  # seconds between two such checks once its output is closed: it usually ends at once
_KILL_SECONDS = 5.0  # for a killed command to disappear, for each kill method
_PIECE = 65_536
# An endless output would keep a processor busy: the engine alone needs half of one to pass it on.
_FREE = 32 << 20  # bytes of output that are read as fast as they come
_RATE = 8 << 20  # bytes a second that are read after that; the program waits when the pipe is full

# Waits for a line on stdin, so no output arrives together with the engine's reply: the SDK gives us only the connection
# and drops what it has read ahead. Without the line (the worker was killed) nothing starts. Then prints its process id
# and executes the program (argv[0] and on).
# stdout and stderr share one pipe, which keeps their order: the engine reads two pipes in any order.
_WRAPPER = 'read -r _ || exit; echo $$; exec "$@" </dev/null 2>&1'
_WRAPPER_WITH_INPUT = 'read -r _ || exit; echo $$; exec "$@" 2>&1'

# Kills the process $1 and all its descendants, even in other sessions (apt runs dpkg in one): its session, their
# children, and every process with the variable $2 in its environment. Fields of stat: proc(5).
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

# If a fork bomb leaves no room for a second process, the shell's builtin kill works. It kills all processes of the
# machine at once except its init process.
_KILL_ALL = "round=0; while [ $((round += 1)) -le 50 ] && kill -KILL -1; do :; done"


class CommandSurvives(Exception):  # noqa: N818 - what happened
    """A command survived every kill method available inside the machine."""


class ExecApi(Protocol):
    """The part of the SDK's APIClient that runs commands. Its errors are not translated."""

    def exec_create(
        self, container: str, cmd: Any, *, stdin: bool = ..., environment: Any = ...
    ) -> Mapping[str, Any]: ...

    def exec_start(self, exec_id: str, detach: bool = ..., *, socket: bool = ...) -> Any: ...

    def exec_inspect(self, exec_id: str) -> Mapping[str, Any]: ...


class Command:
    """One command in a container: started on entering, its connection closed on leaving."""

    def __init__(
        self,
        client: ExecApi,
        container: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        take: Callable[[bytes], object],
        errors: tuple[type[Exception], ...] = (),
        has_input: bool = False,
    ) -> None:
        """`take` receives the output. `errors`: exception types that the client raises if the engine refuses.

        `has_input`: the program reads what send() writes, and its output is read as fast as it comes. Without it, its
        standard input is empty, and a flood of output is slowed down.
        """
        self._client = client
        self._errors = errors
        self._container = container
        self._mark = f"ALTS_COMMAND={secrets.token_hex(8)}"
        self._cmd = ["/bin/sh", "-c", _WRAPPER_WITH_INPUT if has_input else _WRAPPER, "sh", *argv]
        self._env = [*(f"{key}={value}" for key, value in env.items()), self._mark]
        self._take = take
        self._frames = FrameReader()
        self._first = FirstLine()
        self._open = True
        self._paced = not has_input
        self._received = 0
        self.killing = False
        """Whether the kill has begun."""

    def __enter__(self) -> Command:
        self._id: str = self._client.exec_create(self._container, self._cmd, stdin=True, environment=self._env)["Id"]
        self._stream = self._client.exec_start(self._id, socket=True)
        try:
            # The SDK's stream is read-only. A duplicated socket on the same connection can also write.
            self._socket = socket.socket(fileno=socket.dup(self._stream.fileno()))
            self._socket.settimeout(_START_TIMEOUT)
            self._socket.sendall(b"\n")
        except OSError:
            self._hang_up()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._socket.close()
        self._hang_up()

    def _hang_up(self) -> None:
        # The SDK attaches the reply to its connection, a reference cycle that stays open until garbage collection
        # (docker/api/client.py, _get_raw_response_socket).
        self._stream._response.close()

    @property
    def started(self) -> bool:
        """Whether the wrapper shell has printed its process id."""
        return self._first.number is not None

    def send(self, data: bytes) -> None:
        """Write to the program's standard input. Raises OSError."""
        self._socket.sendall(data)

    def attend(
        self,
        stop: Stop,
        *,
        too_much: Callable[[], bool] = lambda: False,
        heard: Callable[[], bool] = lambda: False,
    ) -> tuple[StopReason | None, int | None]:
        """Read the output until the command ends or `stop` is set. Returns the stop reason and the exit code.

        Both are None if `too_much`, polled about ten times a second, got the command killed, and if `heard`, polled
        after each piece of output, ended the reading; the command runs on then.
        A deadline kills the command. A requested stop does not: the caller removes the whole machine next, and a
        machine without spare processes may take long to start the killer.
        Raises CommandSurvives if the kill fails.
        """
        look_at = time.monotonic() + _LOOK_INTERVAL
        while not (reason := stop.reason) and not too_much():
            if heard():
                return None, None
            if self._open:
                self._read(_LOOK_INTERVAL)
            # A background child may hold the output open, and a command may close it and go on. While such a child
            # writes, the engine needs 2-4 s to notice the command's end.
            if not self._open or time.monotonic() >= look_at:
                if (code := self._exit_code(self._id)) is not None:
                    self._drain(_DRAIN_SECONDS)
                    self._take(self._first.foreign)
                    return None, code
                look_at = time.monotonic() + _INSPECT_INTERVAL
                if not self._open:
                    stop.sleep(_CLOSED_INTERVAL)
        if reason in (None, StopReason.DEADLINE):
            self.killing = True
            self._kill()
            self._drain(_DRAIN_SECONDS)
        return reason, None

    def _read(self, seconds: float) -> None:
        if not select.select([self._socket], [], [], seconds)[0]:
            return
        data = self._socket.recv(_PIECE)
        self._open = bool(data)
        self._received += len(data)
        if self._paced and self._received > _FREE:
            time.sleep(len(data) / _RATE)
        for stream, part in self._frames.feed(data):
            self._take(self._first.feed(part) if stream == STDOUT else part)

    def _drain(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self._open and (left := until - time.monotonic()) > 0:
            self._read(left)

    def _exit_code(self, command: str) -> int | None:
        state = self._client.exec_inspect(command)
        return None if state["Running"] else state["ExitCode"]

    def _kill(self) -> None:
        """Kill the command and its descendants, else every process in the machine. Raises CommandSurvives."""
        if not self._killed_by(_KILLER) and not self._killed_by(_KILL_ALL):
            raise CommandSurvives

    def _killed_by(self, script: str) -> bool:
        """Run a kill script until the command is gone; returns whether it is. Retries: the command may be starting."""
        until = time.monotonic() + _KILL_SECONDS
        argv = ["/bin/sh", "-c", script, "sh", "none", self._mark]
        killer = None
        while time.monotonic() < until:
            try:
                if killer is None:
                    # The first line may still be in transit; a process that just started is found by its mark.
                    argv[4] = str(self._first.number or "none")
                    killer = self._client.exec_create(self._container, argv)["Id"]
                    self._client.exec_start(killer, detach=True)
                # Keep reading: the engine processes no command's end while another's output is blocked.
                self._drain(_LOOK_INTERVAL)
                if not self._open:
                    time.sleep(_CLOSED_INTERVAL)
                killed = self._exit_code(killer)
                if killed == 0 and self._exit_code(self._id) is not None:
                    return True
                if killed is not None:
                    killer = None
            except self._errors:
                # Near the process limit, starting the killer succeeds only sometimes.
                killer = None
                time.sleep(_LOOK_INTERVAL)
        return False
