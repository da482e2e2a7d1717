"""A server process that a test starts in a session of its own, so that the whole session can be ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tests.support.forked import ForkedModule


class ServerDidNotStart(Exception):  # noqa: N818 - reads as what happened
    """The process ended, or did not answer in time. The message ends with its log."""


class ServerProcess:
    """start() starts it, stop() or kill() ends it, any number of times. Its output is appended to `log`."""

    def __init__(
        self, argv: Sequence[str], *, env: Mapping[str, str], folder: Path, log: Path, forked: bool = False
    ) -> None:
        """`forked`: make `python -m` of a module a fork of tests.support.forked, which starts sooner."""
        self._argv = list(argv)
        self._env = dict(env)
        self._folder = folder
        self._log = log
        self._forked = forked
        self._process: subprocess.Popen[bytes] | ForkedModule | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The id of the running process."""
        assert self._process is not None
        return self._process.pid

    def start(self, *, ready: Callable[[], bool], start_timeout: float = 60.0) -> None:
        """Start it.

        Raises ServerDidNotStart if `ready` is not true within `start_timeout` seconds; leaves nothing behind.
        """
        self._process = begun(self._argv, env=self._env, folder=self._folder, log=self._log, forked=self._forked)
        deadline = time.monotonic() + start_timeout
        while not (self.running and ready()):
            if not self.running or time.monotonic() > deadline:
                ended = f"exit status {self._process.returncode}" if not self.running else "not ready in time"
                self.kill()
                tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-30:])
                raise ServerDidNotStart(f"{self._argv[0]} ({ended}):\n{tail}")
            time.sleep(0.1)

    def stop(self, *, how: signal.Signals = signal.SIGTERM, stop_timeout: float = 30.0) -> None:
        """Send SIGTERM, and kill the rest after `stop_timeout` seconds."""
        if self._process is None:
            return
        if self.running:
            self._process.send_signal(how)
            with suppress(subprocess.TimeoutExpired):  # kill() is next
                self._process.wait(stop_timeout)
        self.kill()

    def kill(self) -> None:
        """Kill the process and everything that it has started."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):  # everything had ended already
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        # Its children die a moment later and hold its ports until then.
        while _alive_in_session(self._process.pid):
            time.sleep(0.02)
        self._process = None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process itself."""
        assert self._process is not None
        self._process.send_signal(number)

    def exit_code(self, *, within: float) -> int:
        """Return its exit code when it has ended by itself. Raises subprocess.TimeoutExpired."""
        assert self._process is not None
        return self._process.wait(within)

    def kill_alone(self) -> None:
        """Kill the process alone, as the kernel does when memory is short. Its children get no signal."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()


def begun(
    argv: Sequence[str], *, env: Mapping[str, str], folder: Path, log: Path, forked: bool
) -> subprocess.Popen[bytes] | ForkedModule:
    """Start a process in a session of its own, whose output is appended to `log`. `forked`: see ServerProcess."""
    if forked:
        [python, flag, *arguments] = argv
        assert [python, flag] == [sys.executable, "-m"], argv
        log.touch()
        return ForkedModule(arguments, env=env, cwd=folder, log=log)
    with log.open("ab") as output:
        return subprocess.Popen(
            argv,
            env=env,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _alive_in_session(leader: int) -> bool:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            # proc(5): the name in brackets may contain anything. State, parent, group and session follow it.
            state, _parent, _group, session = stat.read_text().rpartition(")")[2].split()[:4]
            if int(session) == leader and state != "Z":
                return True
    return False
