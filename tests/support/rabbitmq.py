"""A private RabbitMQ with its own node, ports on 127.0.0.1, folders and epmd. It leaves nothing behind."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.ports import answers, free_ports
from tests.support.server_process import ServerProcess

# Debian's wrapper in /usr/sbin changes to the user rabbitmq and its folders.
_SCRIPTS = "usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin"


class PrivateRabbitMQ:
    """Runs between `__enter__` and `__exit__`. stop(), kill() and start() keep the stored data."""

    def __init__(self) -> None:
        self.port, dist_port, self._epmd_port = free_ports(3)
        self.user = "alts"
        self.password = secrets.token_hex(16)
        # A short path, and outside pytest's folder, which is kept after the run.
        self._folder = Path(tempfile.mkdtemp(prefix="alts-rabbitmq-"))
        self._scripts = _scripts()
        self._env = self._environment(dist_port)
        epmd = shutil.which("epmd") or "epmd"
        log = self._folder / "output.log"
        # Erlang starts a missing epmd as a daemon that outlives it. We end this one.
        self._epmd = ServerProcess(
            [epmd, "-address", "127.0.0.1", "-port", str(self._epmd_port)],
            env=self._env,
            folder=self._folder,
            log=log,
        )
        self._server = ServerProcess(
            [str(self._scripts / "rabbitmq-server")], env=self._env, folder=self._folder, log=log
        )

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.callback(self._remove)
            (self._folder / "rabbitmq.conf").write_text(
                f"default_user = {self.user}\ndefault_pass = {self.password}\nloopback_users = none\n"
                f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            )
            (self._folder / "enabled_plugins").write_text("[].\n")
            self._epmd.start(ready=lambda: answers(self._epmd_port))
            self.start()
            undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def start(self) -> None:
        """Takes 6 to 10 seconds, minutes on a starved host.

        The server listens last of all, so a client that connects can work.
        """
        self._server.start(ready=lambda: answers(self.port), start_timeout=300)

    def stop(self) -> None:
        """Stop politely. Durable data is there again after start()."""
        self._server.stop()

    def kill(self) -> None:
        """Kill it, as a power failure would."""
        self._server.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    @property
    def config(self) -> dict[str, Any]:
        """Return the keys of alts.shared.config.Config for this server."""
        return {
            "broker": "rabbitmq",
            "rabbitmq_host": "127.0.0.1",
            "rabbitmq_port": self.port,
            "rabbitmq_user": self.user,
            "rabbitmq_password": self.password,
        }

    @property
    def pid(self) -> int:
        """The id of the server's first process, which is also that of its session."""
        return self._server.pid

    @property
    def folder(self) -> Path:
        """The folder of all its data; the environment of each of its processes names it."""
        return self._folder

    def ctl(self, *arguments: str) -> str:
        """Return the output of rabbitmqctl. It is slow (1 to 2 s), but asks the server itself, not through our code."""
        done = subprocess.run(
            [str(self._scripts / "rabbitmqctl"), "--silent", "--formatter", "json", *arguments],
            env=self._env,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout

    def _remove(self) -> None:
        self._server.stop()
        self._epmd.stop()
        shutil.rmtree(self._folder)

    def _environment(self, dist_port: int) -> dict[str, str]:
        folder = str(self._folder)
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            # Erlang writes its cookie there.
            "HOME": folder,
            "RABBITMQ_NODENAME": f"alts-{secrets.token_hex(4)}@localhost",
            "RABBITMQ_DIST_PORT": str(dist_port),
            "RABBITMQ_CONF_ENV_FILE": f"{folder}/no-rabbitmq-env.conf",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/enabled_plugins",
            "RABBITMQ_MNESIA_BASE": f"{folder}/mnesia",
            "RABBITMQ_LOG_BASE": f"{folder}/log",
            "RABBITMQ_GENERATED_CONFIG_DIR": f"{folder}/generated",
            # Erlang's schedulers spin while they wait for work, which costs the other tests processor time.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none -kernel inet_dist_use_interface {127,0,0,1}",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }


def _scripts() -> Path:
    found = sorted(Path("/").glob(_SCRIPTS))
    if not found:
        raise FileNotFoundError(f"no RabbitMQ at /{_SCRIPTS}: make setup installs it")
    return found[-1]
