"""A Docker engine that a test can slow down or cut off: a proxy on a Unix socket in front of the real engine."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
import threading
from pathlib import Path
from types import TracebackType

# The service's own choice of engine, so that a test and the service use the same one.
ENGINE = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
PATIENCE = 30.0


class EngineProxy:
    """Passes all requests on, except one that it holds back, or whose answer it drops."""

    def __init__(self) -> None:
        # The length of a socket's path is limited, and a test's own folder may exceed it.
        self._folder = Path(tempfile.mkdtemp(prefix="alts-proxy-"))
        self._listener = socket.socket(socket.AF_UNIX)
        self._marker = b""
        self._swallow = False
        self.reached = threading.Event()
        self._released = threading.Event()
        self._gone = False

    @property
    def docker_host(self) -> str:
        return f"unix://{self._folder}/s"

    def hold(self, marker: bytes) -> None:
        """Hold back the next request that contains the marker until `release` is set.

        `reached` is set when it has arrived.
        """
        self._marker, self._swallow = marker, False

    def swallow_answer(self, marker: bytes) -> None:
        """Let the engine handle the next request that contains the marker, then hang up instead of answering."""
        self._marker, self._swallow = marker, True

    def release(self) -> None:
        self._released.set()

    def go_away(self) -> None:
        """Refuse connections and hang up on the held request, as if the engine had died."""
        self._gone = True
        self._stop_listening()
        self.release()

    def __enter__(self) -> EngineProxy:
        self._listener.bind(f"{self._folder}/s")
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.release()
        self._stop_listening()
        shutil.rmtree(self._folder)

    def _stop_listening(self) -> None:
        # Closing the socket does not wake a thread that waits in accept().
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                engine = socket.socket(socket.AF_UNIX)
                engine.connect(ENGINE)
                threading.Thread(target=self._requests, args=(client, engine), daemon=True).start()
                threading.Thread(target=self._answers, args=(engine, client), daemon=True).start()

    def _requests(self, client: socket.socket, engine: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65_536):
                if self._marker and self._marker in data:
                    self._marker = b""
                    if self._swallow:
                        # The thread for answers finds its client gone when the answer comes.
                        client.shutdown(socket.SHUT_RDWR)
                    else:
                        self.reached.set()
                        self._released.wait(PATIENCE)
                        if self._gone:
                            client.shutdown(socket.SHUT_RDWR)
                            return
                engine.sendall(data)
            engine.shutdown(socket.SHUT_WR)

    def _answers(self, engine: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := engine.recv(65_536):
                client.sendall(data)
            client.shutdown(socket.SHUT_WR)
