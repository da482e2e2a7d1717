"""A process of the service that may be killed, frozen, ended and restarted."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.forked import ForkedModule
from tests.support.server_process import begun


class Service:
    """start() starts it, any number of times. Its output is appended to `log`. Threads may share it."""

    def __init__(self, name: str, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path) -> None:
        self.name = name
        self._argv = list(argv)
        self._env = dict(env)
        self._cwd = cwd
        self._log = log
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | ForkedModule | None = None
        self._log_start = 0
        self.killed: dict[int, float] = {}
        """Process id → the time of its kill (seconds of the monotonic clock)."""

    @property
    def running(self) -> bool:
        with self._lock:
            return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """The exit code of the last process; None while it runs."""
        with self._lock:
            return None if self._process is None else self._process.poll()

    def has_said(self, words: str) -> bool:
        """Whether the words are in the output of the last process."""
        with self._lock, self._log.open("rb") as log:
            log.seek(self._log_start)
            return words.encode() in log.read()

    def start(self) -> None:
        """Start it, unless it runs already."""
        with self._lock, self._log.open("ab") as log:
            if self.running:
                return
            self._log_start = log.tell()
            self._process = begun(self._argv, env=self._env, folder=self._cwd, log=self._log, forked=True)

    def kill(self) -> None:
        """kill -9 the process alone, as the kernel does when memory is short. Its children get no signal."""
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                self._process.kill()
                self._process.wait()
                self.killed[self._process.pid] = time.monotonic()

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def terminate(self) -> None:
        """Ask it to end, without waiting."""
        self._signal(signal.SIGTERM)

    def wait(self, seconds: float) -> int | None:
        """Return the exit code, or None if it has not ended in time. Its log then says where it hangs."""
        with self._lock:
            process = self._process
        if process is None:
            return None
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            # On this signal Celery prints the stacks of all threads (celery.apps.worker.install_cry_handler).
            self._signal(signal.SIGUSR1)
            time.sleep(1)
            return None

    def kill_all(self) -> None:
        """End it with everything that it has started, in any state."""
        self.thaw()
        self.kill()
        with self._lock:
            if self._process is not None:
                try:
                    os.killpg(self._process.pid, signal.SIGKILL)
                except ProcessLookupError:
                    return

    def _signal(self, number: signal.Signals) -> None:
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                self._process.send_signal(number)
