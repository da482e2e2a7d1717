"""Subprocesses on the worker's host: bounded time and output, and the process group is killed at the end."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from alts.core.command import Completed, shown
from alts.core.output import BoundedOutput, OutputSink
from alts.core.stop import Stop, StopReason
from alts.shared.errors import InfrastructureError

_LOOK_INTERVAL = 0.1  # seconds between two checks of the Stop and the program
_DRAIN_SECONDS = 0.3  # for output still in the pipe when the program has ended
_END_INTERVAL = 0.01  # seconds, once the output is closed: most programs exit at the same moment
_HURRIED_GRACE = 2.0  # seconds of grace for a requested stop, which somebody waits for
_DEATH_SECONDS = 5.0  # seconds for killed processes to disappear
_EXEC_LOOKS, _EXEC_INTERVAL = 20, 0.001  # seconds; execve(2) takes microseconds, unless the machine is busy
_PIECE = 65_536  # bytes, the size of a pipe

_WILL_FAIL_AGAIN = (FileNotFoundError, PermissionError, NotADirectoryError)


def run_process(
    argv: Sequence[str],
    *,
    stop: Stop,
    env: Mapping[str, str],
    cwd: Path | None = None,
    sink: OutputSink | None = None,
    interrupt_grace: float = 0.0,
) -> Completed:
    """Run a program with empty standard input until it ends or `stop` is set.

    `env` is the complete environment. When the program ends, the rest of its process group is killed.
    On a stop the program gets SIGINT, `interrupt_grace` seconds to end, then SIGKILL; `exit_code` is then None.
    Unless the stop is a deadline, the grace is at most two seconds.
    Raises InfrastructureError if the program cannot be started.
    """
    started = time.monotonic()
    if reason := stop.reason:
        return Completed(argv=tuple(argv), exit_code=None, output="", seconds=0.0, stopped=reason)
    output = BoundedOutput(sink)
    with _start(argv, cwd=cwd, env=env) as process:
        try:
            stopped = _attend(process, output, stop=stop, interrupt_grace=interrupt_grace)
        finally:
            _kill_group(process)
            process.wait()
    return Completed(
        argv=tuple(argv),
        exit_code=None if stopped else process.returncode,
        output=output.text(),
        seconds=time.monotonic() - started,
        stopped=stopped,
    )


def kill_by_variable(name: str, value: str) -> int:
    """Kill every process that was started with NAME=VALUE in its environment. Returns their number.

    For programs whose children leave the process group. The value must be unique, e.g. the path of a new folder.
    Waits up to five seconds for the processes to disappear.
    """
    wanted = os.fsencode(f"{name}={value}")
    return _kill_all(lambda environment: wanted in environment)


def kill_at_home_below(folder: Path) -> int:
    """Kill every process started with a HOME below the folder (left by a dead worker). Returns their number.

    All processes of an attempt have their HOME in the attempt's folder. Waits like kill_by_variable.
    """
    wanted = b"HOME=" + os.fsencode(folder.absolute()) + b"/"
    return _kill_all(lambda environment: any(variable.startswith(wanted) for variable in environment))


def _kill_all(known: Callable[[list[bytes]], bool]) -> int:
    """Kill the processes whose environment (a list of NAME=VALUE) satisfies `known`. Returns their number."""
    killed: set[int] = set()
    end = time.monotonic() + _DEATH_SECONDS
    while (marked := set(_processes(known))) and time.monotonic() < end:
        for pid in marked:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        killed |= marked
        time.sleep(_END_INTERVAL)
    return len(killed)


def _processes(known: Callable[[list[bytes]], bool]) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            # The process may end meanwhile or belong to another user. A zombie has no environment.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
                if known(_environment(entry).split(b"\0")):
                    yield int(entry.name)


def _environment(process: Path) -> bytes:
    """Read the environment of a process folder in /proc. Raises FileNotFoundError or ProcessLookupError if the process
    has ended or is a kernel thread."""
    for _ in range(_EXEC_LOOKS):
        if environment := (process / "environ").read_bytes():
            return environment
        # During execve(2) a process gets its environment a moment after its new program.
        (process / "exe").readlink()
        time.sleep(_EXEC_INTERVAL)
    return b""


def _start(argv: Sequence[str], *, cwd: Path | None, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            argv,
            bufsize=0,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        culprit = error.filename or argv[0]
        raise InfrastructureError(
            f"{argv[0]} cannot be started: {culprit}: {error.strerror}",
            details=shown(argv),
            retryable=not isinstance(error, _WILL_FAIL_AGAIN),
        ) from error


def _attend(
    process: subprocess.Popen[bytes], output: BoundedOutput, *, stop: Stop, interrupt_grace: float
) -> StopReason | None:
    """Read the output until the program ends. Returns the stop reason, None if it ended by itself."""
    stopped: StopReason | None = None
    kill_at = 0.0
    assert process.stdout is not None  # noqa: S101 - for the type checker: it was started with PIPE
    with _Pipe(process.stdout) as pipe:
        while not _has_ended(process):
            if stopped is None and (stopped := stop.reason):
                hurried = stopped is not StopReason.DEADLINE
                kill_at = time.monotonic() + (min(interrupt_grace, _HURRIED_GRACE) if hurried else interrupt_grace)
                if interrupt_grace > 0:
                    _signal_group(process, signal.SIGINT)
            if stopped and time.monotonic() >= kill_at:
                _kill_group(process)
            pipe.read(output, seconds=_LOOK_INTERVAL)
        # A child may hold the inherited pipe open, so only the output of the next _DRAIN_SECONDS is read.
        drained_at = time.monotonic() + _DRAIN_SECONDS
        while pipe.open and (left := drained_at - time.monotonic()) > 0:
            pipe.read(output, seconds=left)
    return stopped


class _Pipe:
    """Non-blocking read end of a program's output pipe."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._selector = selectors.DefaultSelector()
        self.open = True

    def __enter__(self) -> _Pipe:
        os.set_blocking(self._file.fileno(), False)
        self._selector.register(self._file, selectors.EVENT_READ)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._selector.close()

    def read(self, output: BoundedOutput, *, seconds: float) -> None:
        """Read available output, waiting at most `seconds`; less if the pipe is closed."""
        if not self.open:
            time.sleep(min(seconds, _END_INTERVAL))
            return
        if not self._selector.select(seconds):
            return
        try:
            data = os.read(self._file.fileno(), _PIECE)
        except BlockingIOError:
            return
        if data:
            output.feed(data)
        else:
            self._selector.unregister(self._file)
            self.open = False


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Return whether the program has ended, without reaping it. Until reaped, its id stays reserved for its group."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    # Not reaped yet, so the group id cannot be reused. start_new_session made the group.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is None:
        _signal_group(process, signal.SIGKILL)
