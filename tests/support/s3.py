"""A private S3 server: nanio on 127.0.0.1 with random keys. It leaves nothing behind."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.ports import answers, free_ports
from tests.support.server_process import ServerProcess


class PrivateS3:
    """Runs between `__enter__` and `__exit__`. stop(), kill() and start() keep the stored data."""

    def __init__(self) -> None:
        (self.port,) = free_ports(1)
        self.endpoint_url = f"http://127.0.0.1:{self.port}"
        self.access_key_id = secrets.token_hex(8)
        self.secret_access_key = secrets.token_hex(16)
        self._folder = Path(tempfile.mkdtemp(prefix="alts-s3-"))
        arguments = ["--host", "127.0.0.1", "--port", str(self.port), "--data-dir", str(self._folder / "data")]
        self._server = ServerProcess(
            [sys.executable, "-m", "nanio", "serve", *arguments],
            env={
                "PATH": os.environ["PATH"],
                "NANIO_ACCESS_KEY": self.access_key_id,
                "NANIO_SECRET_KEY": self.secret_access_key,
            },
            folder=self._folder,
            log=self._folder / "output.log",
        )

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.callback(self._remove)
            self.start()
            undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def start(self) -> None:
        # nanio never again writes an object that it was writing when it was killed: see
        # resources/compose/s3/Dockerfile.
        for half_written in (self._folder / "data").glob("*/.nanio-meta/**/*.tmp"):
            half_written.unlink()
        self._server.start(ready=lambda: answers(self.port))

    def stop(self) -> None:
        self._server.stop()

    def kill(self) -> None:
        """Kill it, as a power failure would."""
        self._server.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    @property
    def pid(self) -> int:
        """The id of the server's first process, which is also that of its session."""
        return self._server.pid

    @property
    def config(self) -> dict[str, Any]:
        """Return the keys of alts.shared.config.Config for this server, without s3_bucket."""
        return {
            "storage": "s3",
            "s3_endpoint_url": self.endpoint_url,
            "s3_access_key_id": self.access_key_id,
            "s3_secret_access_key": self.secret_access_key,
        }

    @property
    def folder(self) -> Path:
        """The folder of all stored data."""
        return self._folder

    def _remove(self) -> None:
        self._server.stop()
        shutil.rmtree(self._folder)
