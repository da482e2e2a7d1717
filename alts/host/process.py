"""Run a program on the worker itself: bounded in time and in output, and gone with all it started when it is over."""

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

from alts.core.command import BoundedOutput, Completed, OutputSink, shown
from alts.core.stop import Stop, StopReason
from alts.shared.errors import InfrastructureError

_LOOK_INTERVAL = 0.1  # seconds between two looks at the Stop and at the program
_DRAIN_SECONDS = 0.3  # for output that is still on its way when the program has ended
_END_INTERVAL = 0.01  # seconds, once the output is closed: most programs end in the same moment
_HURRIED_GRACE = 2.0  # seconds to end by itself where somebody asked to stop, and waits for it
_DEATH_SECONDS = 5.0  # for a killed process to be gone
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
    """Run a program, with nothing on its standard input, until it ends or `stop` says so.

    `env` is its complete environment. What it leaves running in its process group is killed when it ends.
    When stopped it gets SIGINT and `interrupt_grace` seconds to end by itself, then SIGKILL; `exit_code` is None then.
    Where somebody asked to stop, rather than the time being up, the grace is two seconds at most.
    Raises InfrastructureError where the program cannot be started.
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
    """Kill every process that was started with NAME=VALUE in its environment; says how many there were.

    For programs whose children leave the process group. The value must be nobody else's, such as a new folder's path.
    They are gone when this returns, but for one that the kernel does not let go within five seconds.
    """
    wanted = os.fsencode(f"{name}={value}")
    return _kill_all(lambda environment: wanted in environment)


def kill_at_home_below(folder: Path) -> int:
    """Kill every process that was started with a HOME below the folder: what a dead worker has left running there.

    Everything that a worker starts for an attempt has its HOME in the attempt's folder. As kill_by_variable.
    """
    wanted = b"HOME=" + os.fsencode(folder.absolute()) + b"/"
    return _kill_all(lambda environment: any(variable.startswith(wanted) for variable in environment))


def _kill_all(known: Callable[[list[bytes]], bool]) -> int:
    """Of the processes whose environment, as NAME=VALUE, is `known`."""
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
            # It may end while we look, or be another user's; a zombie has no environment any more.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
                if known(_environment(entry).split(b"\0")):
                    yield int(entry.name)


def _environment(process: Path) -> bytes:
    """Of a process in /proc. Raises FileNotFoundError or ProcessLookupError where it has none: it has ended, or is a
    thread of the kernel."""
    for _ in range(_EXEC_LOOKS):
        if environment := (process / "environ").read_bytes():
            return environment
        # In the middle of execve(2) a process has its new program already, and its environment a moment later.
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
    """Read what the program says until it has ended. Says why it was stopped, None where it ended by itself."""
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
        # A child that inherited the pipe may hold it open forever: only what is there is read.
        drained_at = time.monotonic() + _DRAIN_SECONDS
        while pipe.open and (left := drained_at - time.monotonic()) > 0:
            pipe.read(output, seconds=left)
    return stopped


class _Pipe:
    """The reading end of a program's output, which never makes the reader wait longer than asked."""

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
        """Take what is there, waiting for it that long at most; less where the pipe is closed and nothing can come."""
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
    """Whether the program has ended, without reaping it: for as long as it is not reaped, its id stays its group's."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    # Not reaped yet, so the group cannot be somebody else's. It is ours by start_new_session.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is None:
        _signal_group(process, signal.SIGKILL)
