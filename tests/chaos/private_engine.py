"""A private Docker engine with its own socket, folders and network namespace. It leaves nothing behind."""

from __future__ import annotations

import random
import shutil
import subprocess
import tempfile
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import docker

from alts.core.stop import Stop
from alts.images.factory import image_resolver
from alts.runners.docker.build import DockerBuilds
from alts.runners.docker.engine import Engine
from tests.support.builders import a_config, a_spec
from tests.support.checkout import ROOT
from tests.support.processes import pids_of
from tests.support.server_process import ServerDidNotStart, ServerProcess

_IMAGE_SECONDS = 600.0
_STARTS = 3
_OFFLINE = "rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/* /var/lib/apt/lists/*"


class PrivateEngine:
    """Runs between `__enter__` and `__exit__`; stop(), kill() and start() keep its data. Needs root."""

    def __init__(self) -> None:
        # A short path: a socket's path may have 108 letters (unix(7)).
        self.folder = Path(tempfile.mkdtemp(prefix="alts-engine-"))
        self.docker_host = f"unix://{self.folder}/s"
        self._namespace = self.folder.name
        self._net = f"10.89.{random.randrange(256)}.{random.randrange(64) * 4}"
        self._server = ServerProcess(
            ["nsenter", f"--net=/run/netns/{self._namespace}", *self._dockerd()],
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
            folder=self.folder,
            log=self.folder / "dockerd.log",
        )

    @property
    def host_address(self) -> str:
        """The address of this host for containers of the engine."""
        return self._address(1)

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.callback(self._remove)
            self._connect()
            self.start()
            self._load_image()
            undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def start(self) -> None:
        """Raises ServerDidNotStart."""
        for left in reversed(range(_STARTS)):
            try:
                self._server.start(ready=self.answers, start_timeout=300)
            except ServerDidNotStart:
                # dockerd gives its containerd 15 seconds, which is too short on a busy host.
                if not left:
                    raise
                self._forget_pids()
            else:
                return

    def stop(self) -> None:
        """Stop it politely. Its containers end with it."""
        self._server.stop()

    def kill(self) -> None:
        """kill -9 dockerd. Its containers go on until it comes back."""
        self._server.kill_alone()
        self._forget_pids()

    def _forget_pids(self) -> None:
        # Its containerd died with it, but the new parent may be slow to reap it. The next dockerd would wait in vain
        # for the zombie that a pid file names.
        for pid_file in ("pid", "exec/containerd/containerd.pid"):
            (self.folder / pid_file).unlink(missing_ok=True)

    def answers(self) -> bool:
        try:
            with closing(self.client()) as client:
                return bool(client.ping())
        except (docker.errors.DockerException, OSError):
            return False

    def client(self) -> docker.DockerClient:
        """Return a client. The caller closes it."""
        return docker.DockerClient(base_url=self.docker_host, timeout=10)

    def _dockerd(self) -> list[str]:
        folder = self.folder
        roots = ("--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid")
        return ["dockerd", "--host", self.docker_host, *roots]

    def _address(self, number: int) -> str:
        network, _, last = self._net.rpartition(".")
        return f"{network}.{int(last) + number}"

    def _connect(self) -> None:
        """Make a namespace and a cable to it. Containers reach this host, and nothing beyond it."""
        name, cable = self._namespace, f"v{self._namespace.removeprefix('alts-engine-')}"
        _ip("netns", "add", name)
        _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("addr", "add", f"{self._address(1)}/30", "dev", cable)
        _ip("link", "set", cable, "up")
        _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", name, "addr", "add", f"{self._address(2)}/30", "dev", "eth0")
        _ip("-n", name, "link", "set", "eth0", "up")
        _ip("-n", name, "route", "add", "default", "via", self._address(1))

    def _load_image(self) -> None:
        """Make Debian 12 under its official name, with no repository but a task's own. Nothing is downloaded."""
        engine = Engine(self.docker_host)
        config = a_config(docker_host=self.docker_host, image_pull=False, cache_folder=str(ROOT / ".alts/cache"))
        try:
            resolver = image_resolver(config, engine, DockerBuilds(engine))
            image = resolver.resolve(a_spec().platform, stop=Stop(_IMAGE_SECONDS), log=lambda text: None)
        finally:
            engine.close()
        with closing(self.client()) as client:
            container = client.containers.create(image.id, ["sh", "-c", _OFFLINE])
            container.start()
            container.wait()
            container.commit("debian", "12", conf={"Cmd": ["bash"]})
            container.remove()

    def _remove(self) -> None:
        self._server.stop()
        for pid in pids_of(f"{self.folder}/"):
            # These outlived a killed dockerd, e.g. a shim with its container.
            with suppress(ProcessLookupError):
                subprocess.run(["kill", "-9", str(pid)], check=False, capture_output=True)
        for mount in reversed(_mounts_below(self.folder)):
            subprocess.run(["umount", "--lazy", mount], check=False)
        subprocess.run(["ip", "netns", "delete", self._namespace], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _mounts_below(folder: Path) -> list[str]:
    """Return the mount points in the order of mounting."""
    points = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    return [point for point in points if point.startswith(f"{folder}/")]
