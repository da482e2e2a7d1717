"""One command in a container: its output taken off the wire, and killed with all that it started when it must stop."""

from __future__ import annotations

import secrets
import select
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from alts.core.command import BoundedOutput
from alts.core.stop import Stop, StopReason
from alts.runners.docker.frames import STDOUT, FirstLine, FrameReader

_START_TIMEOUT = 30  # seconds for the engine to take our word to start
_LOOK_INTERVAL = 0.1  # seconds between two looks at the Stop
_INSPECT_INTERVAL = 0.2  # seconds between two questions whether a command still runs
_DRAIN_SECONDS = 0.3  # for output that is on its way when a command has ended
_CLOSED_INTERVAL = 0.02  # seconds between two such questions once its output is closed: it ends in that moment
_KILL_SECONDS = 5.0  # for a command to be gone once it was killed, with all it started, or with all there is
_PIECE = 65_536

# Waits for our word, so that no output can come together with the engine's reply, of which the SDK gives us only the
# connection and drops what it has read ahead. Without the word (we were killed) nothing is started. Then says its
# process id and becomes the program, argv[0] and on.
# Standard output and error are one pipe, which keeps their order: the engine reads two in whichever order it likes.
_WRAPPER = 'read -r _ || exit; echo $$; exec "$@" </dev/null 2>&1'

# Kills the process $1 and all that it started, however deep and even in sessions of their own (apt runs dpkg in one):
# its session, their children, and processes with the variable $2 in their environment. Fields of stat: proc(5).
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

# Where a fork bomb leaves no room for a second process the shell's own kill(1) still works: on all that runs in the
# machine at once, so that nothing gets away, but for the machine's first process.
_KILL_ALL = "round=0; while [ $((round += 1)) -le 50 ] && kill -KILL -1; do :; done"


class CommandSurvives(Exception):  # noqa: N818 - what happened
    """A command is still there after all that can be done from inside the machine."""


class ExecApi(Protocol):
    """The part of the SDK's APIClient that runs commands; its errors come through."""

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
        output: BoundedOutput,
        errors: tuple[type[Exception], ...] = (),
    ) -> None:
        """`errors`: what the client raises where the engine refuses."""
        self._client = client
        self._errors = errors
        self._container = container
        self._mark = f"ALTS_COMMAND={secrets.token_hex(8)}"
        self._cmd = ["/bin/sh", "-c", _WRAPPER, "sh", *argv]
        self._env = [*(f"{key}={value}" for key, value in env.items()), self._mark]
        self._output = output
        self._frames = FrameReader()
        self._first = FirstLine()
        self._open = True
        self.killing = False
        """Whether it is being killed, or was."""

    def __enter__(self) -> Command:
        self._id: str = self._client.exec_create(self._container, self._cmd, stdin=True, environment=self._env)["Id"]
        self._stream = self._client.exec_start(self._id, socket=True)
        try:
            # What the SDK hands out can only be read from: a socket of our own on the same connection can do both.
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
        # The SDK hangs the reply on its connection, a cycle that holds it open until some garbage collection
        # (docker/api/client.py, _get_raw_response_socket).
        self._stream._response.close()

    @property
    def started(self) -> bool:
        """Whether the machine's shell has come so far as to say its process id."""
        return self._first.number is not None

    def attend(
        self, stop: Stop, *, too_much: Callable[[], bool] = lambda: False
    ) -> tuple[StopReason | None, int | None]:
        """Take the output until the command ends, or `stop` says so. Why it was stopped, and its exit code.

        Neither where it was killed because of `too_much`, which is asked ten times a second.
        Where its time is up it is killed. Where somebody asked to stop the whole machine is taken away next, and
        waits for nobody: a machine that is out of processes may take long to start our killer.
        Raises CommandSurvives where it cannot be killed.
        """
        look_at = time.monotonic() + _LOOK_INTERVAL
        while not (reason := stop.reason) and not too_much():
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
        """Kill the command and what it started, else all that runs in the machine."""
        if not self._killed_by(_KILLER) and not self._killed_by(_KILL_ALL):
            raise CommandSurvives

    def _killed_by(self, script: str) -> bool:
        """Again until the command is gone: it may have been about to start."""
        until = time.monotonic() + _KILL_SECONDS
        argv = ["/bin/sh", "-c", script, "sh", "none", self._mark]
        killer = None
        while time.monotonic() < until:
            try:
                if killer is None:
                    # Its first line may still be on its way; what has just started is found by its mark.
                    argv[4] = str(self._first.number or "none")
                    killer = self._client.exec_create(self._container, argv)["Id"]
                    self._client.exec_start(killer, detach=True)
                # Reading goes on: the engine handles no end of a command while it cannot get rid of another's output.
                self._drain(_LOOK_INTERVAL)
                if not self._open:
                    time.sleep(_CLOSED_INTERVAL)
                killed = self._exit_code(killer)
                if killed == 0 and self._exit_code(self._id) is not None:
                    return True
                if killed is not None:
                    killer = None
            except self._errors:
                # A machine without a process to spare starts the killer at one moment, and not at another.
                killer = None
                time.sleep(_LOOK_INTERVAL)
        return False
