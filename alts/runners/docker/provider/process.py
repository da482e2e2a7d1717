"""The process that serves the embedded provider to every terraform of this worker."""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import alts
from alts.core.stop import Stop
from alts.shared.errors import InfrastructureError

REATTACH_VARIABLE = "TF_REATTACH_PROVIDERS"
LOG_NAME = "provider.log"

# sun_path of unix(7) has 108 bytes, including the NUL.
_SOCKET_PATH_LIMIT = 107
_SOCKET_NAME = "socket"

_READY_SECONDS = 60.0  # from start to ready; 0.6 s on an idle machine
_END_SECONDS = 70.0  # more than _UNDO_SECONDS of alts.runners.docker.provider.server
_LOOK_SECONDS = 0.2  # between two checks of a Stop
_LOG_TAIL = 2000  # characters

log = logging.getLogger(__name__)


class ProviderProcess:
    """Starts the provider when it is first needed, and again if it has died. Thread-safe.

    The provider ends with this process, even if this process is killed.
    """

    def __init__(self, folder: Path, *, docker_host: str, python: str = sys.executable) -> None:
        """`folder`: for the log, and for the socket if its path is short enough. It is made if missing."""
        self._folder = folder.absolute()
        self._docker_host = docker_host
        self._python = python
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: Path | None = None
        self._value = ""
        self._closed = False

    def environment(self, stop: Stop) -> dict[str, str]:
        """Return the variable that attaches a terraform to the running provider: {"TF_REATTACH_PROVIDERS": ...}.

        Call this before every terraform. A restarted provider has the same socket, but a terraform that has the dead
        process's id cancels its work within a second.
        Raises InfrastructureError if the provider does not start or is closed, or Stopped.
        """
        with self._locked(stop):
            if self._closed:
                raise InfrastructureError("the docker provider is closed: this worker is shutting down")
            if self._process is not None and self._process.poll() is not None:
                log.warning("docker provider died", extra={"exit_code": self._process.returncode})
                self._put_away(self._process)
                self._process = None
            if self._process is None:
                self._process, self._value = self._start(stop)
            return {REATTACH_VARIABLE: self._value}

    def close(self) -> None:
        """End the provider after its calls under way have ended or are undone. Idempotent."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._put_away(self._process)
                self._process = None
            if self._socket is not None:
                shutil.rmtree(self._socket.parent, ignore_errors=True)

    @contextlib.contextmanager
    def _locked(self, stop: Stop) -> Iterator[None]:
        """Hold the lock. The wait can be long if the provider hangs at its start. Raises Stopped."""
        while not self._lock.acquire(timeout=_LOOK_SECONDS):
            stop.check()
        try:
            yield
        finally:
            self._lock.release()

    def _start(self, stop: Stop) -> tuple[subprocess.Popen[bytes], str]:
        """Start the provider. Returns its process and the value that attaches a terraform to it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        socket = self._prepare_socket()
        argv = [
            self._python,
            "-m",
            "alts.runners.docker.provider",
            "--serve",
            str(socket),
            "--docker-host",
            self._docker_host,
        ]
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            # -m must find the package even in a checkout, without an installation.
            "PYTHONPATH": str(Path(alts.__file__).parent.parent),
        }
        with (self._folder / LOG_NAME).open("ab") as log_file:
            process = subprocess.Popen(
                argv,
                cwd=self._folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log_file,
                # Ctrl-C on the worker must not end the provider before the worker has removed its machines.
                start_new_session=True,
            )
        value = ""
        try:
            value = self._wait_until_ready(process, stop)
        finally:
            if not value:
                process.kill()
                self._put_away(process)
        log.info("docker provider started", extra={"pid": process.pid, "socket": str(socket)})
        return process, value

    def _prepare_socket(self) -> Path:
        """Make the socket's folder for our user alone. Access to the folder is access to the provider."""
        if self._socket is None:
            socket = self._folder / "socket.d" / _SOCKET_NAME
            if len(os.fsencode(socket)) > _SOCKET_PATH_LIMIT:
                socket = Path(tempfile.mkdtemp(prefix="alts-")) / _SOCKET_NAME
            self._socket = socket
        self._socket.parent.mkdir(mode=0o700, exist_ok=True)
        self._socket.parent.chmod(0o700)
        return self._socket

    def _wait_until_ready(self, process: subprocess.Popen[bytes], stop: Stop) -> str:
        line = b""
        if process.stdout is not None:
            line = _read_line(process.stdout, stop.within(_READY_SECONDS))
        stop.check()
        if not line.endswith(b"\n"):
            said = (self._folder / LOG_NAME).read_text(encoding="utf-8", errors="replace")
            raise InfrastructureError("the docker provider did not start", details=said[-_LOG_TAIL:])
        return line.decode().strip()

    def _put_away(self, process: subprocess.Popen[bytes]) -> None:
        """End the process by closing its standard input. Reap it and close its pipes."""
        if process.stdin is not None:
            # The process may be dead and the pipe broken.
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            log.warning("docker provider does not end; killed", extra={"pid": process.pid})
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _read_line(file: IO[bytes], stop: Stop) -> bytes:
    """Read until the first newline, the end of the file, or the Stop."""
    line = b""
    with selectors.DefaultSelector() as selector:
        selector.register(file, selectors.EVENT_READ)
        while not line.endswith(b"\n") and stop.reason is None:
            if selector.select(min(_LOOK_SECONDS, stop.remaining)):
                piece = os.read(file.fileno(), 65_536)
                if not piece:
                    break
                line += piece
    return line
