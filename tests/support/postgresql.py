"""A private PostgreSQL with its own folder, port on 127.0.0.1 and password. It leaves nothing behind."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

from tests.support.ports import free_ports
from tests.support.server_process import ServerProcess

# Debian keeps the programs out of PATH, in one folder for each version.
_PROGRAMS = "usr/lib/postgresql/*/bin"
# A test's database is short-lived and need not survive a power failure.
_FORGETFUL = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


class PrivatePostgreSQL:
    """Runs between `__enter__` and `__exit__`. stop(), kill() and start() keep the stored data."""

    def __init__(self, *, durable: bool = False) -> None:
        """`durable`: whether a commit waits for the disk."""
        (self.port,) = free_ports(1)
        self.user = "alts"
        self.password = secrets.token_hex(16)
        self._folder = Path(tempfile.mkdtemp(prefix="alts-postgresql-"))
        self._programs = _programs()
        self._env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(self._folder)}
        options = [f"--port={self.port}", "--listen_addresses=127.0.0.1", f"--unix_socket_directories={self._folder}"]
        options += _settings(durable=durable)
        self._server = ServerProcess(
            _as_nobody(
                [
                    str(self._programs / "postgres"),
                    "-D",
                    str(self._folder / "data"),
                    *options,
                    *_settings(durable=durable),
                ]
            ),
            env=self._env,
            folder=self._folder,
            log=self._folder / "output.log",
        )

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.callback(self._remove)
            password_file = self._folder / "password"
            password_file.write_text(self.password)
            if os.geteuid() == 0:
                for path in (self._folder, password_file):
                    shutil.chown(path, "nobody", "nogroup")
            initdb = [str(self._programs / "initdb"), "--no-sync", "--auth=scram-sha-256", "--encoding=UTF8"]
            initdb += [f"--username={self.user}", f"--pwfile={password_file}", "-D", str(self._folder / "data")]
            subprocess.run(
                _as_nobody(initdb), env=self._env, cwd=self._folder, capture_output=True, timeout=120, check=True
            )
            self.start()
            undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def start(self) -> None:
        self._server.start(ready=self._answers)

    def stop(self) -> None:
        """Stop at once and cleanly. SIGTERM would wait for all clients to disconnect (postgres(1))."""
        self._server.stop(how=signal.SIGINT)

    def kill(self) -> None:
        """Kill all of its processes at once."""
        self._server.kill()

    def url(self, database: str = "postgres") -> str:
        """Value of the key database_url."""
        return f"postgresql+psycopg://{self.user}:{self.password}@127.0.0.1:{self.port}/{database}"

    @contextmanager
    def database(self) -> Iterator[str]:
        """Yield the address of a new, empty database and drop it afterwards, even if it is in use."""
        name = f"alts_{secrets.token_hex(6)}"
        self._tell(f"CREATE DATABASE {name} TEMPLATE template0")
        try:
            yield self.url(name)
        finally:
            self._tell(f"DROP DATABASE {name} WITH (FORCE)")

    def _tell(self, statement: str) -> None:
        with self._connect() as connection:
            connection.execute(statement.encode())

    def _connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=self.user,
            password=self.password,
            dbname="postgres",
            autocommit=True,
            connect_timeout=5,
        )

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder)


def _settings(*, durable: bool) -> list[str]:
    settings = ("max_connections=300", *(() if durable else _FORGETFUL))
    return [word for setting in settings for word in ("-c", setting)]


def _as_nobody(argv: Sequence[str]) -> list[str]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return list(argv)
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *argv]


def _programs() -> Path:
    found = sorted(Path("/").glob(_PROGRAMS))
    if not found:
        raise FileNotFoundError(f"no PostgreSQL at /{_PROGRAMS}: make setup installs it")
    return found[-1]
