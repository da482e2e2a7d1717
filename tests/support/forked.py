"""Modules as processes that start in a moment: forks of a server that has imported the service's libraries already.

A scheduler or a worker needs more than a second of processor time for its imports, and the tests start hundreds. What
differs from `python -m`: /proc shows the fork server's arguments and environment. Tests of these, and of memory, use
`python -m`.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

_PRELOADED = "tests.support.preloaded"
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([_PRELOADED])


class ForkedModule:
    """A running module. It has what the tests use of subprocess.Popen. Threads may share it."""

    def __init__(self, arguments: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path) -> None:
        """`arguments`: the module's name and its arguments. Its output is appended to `log`."""
        self._arguments = list(arguments)
        self._lock = threading.Lock()
        # A daemon, for multiprocessing: a test that fails must not make pytest wait for it.
        self._process = _CONTEXT.Process(target=_run, args=(self._arguments, dict(env), cwd, log), daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        with self._lock:
            return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code. Raises subprocess.TimeoutExpired after `timeout` seconds."""
        multiprocessing.connection.wait([self._process.sentinel], timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(self._arguments, timeout or 0.0)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """kill -9, unless it has ended."""
        self.send_signal(signal.SIGKILL)


def _run(arguments: Sequence[str], env: Mapping[str, str], cwd: Path, log: Path) -> None:
    """Become `python -m` of the module, in a session of its own."""
    if _PRELOADED not in sys.modules:
        raise RuntimeError(f"the fork server could not import {_PRELOADED}")
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.path[0] = str(cwd)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    module, *sys.argv[1:] = arguments
    runpy.run_module(module, run_name="__main__", alter_sys=True)
