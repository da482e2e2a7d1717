"""The docker-compose stack, started as README.md says, beside other stacks on this host."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import docker
import httpx

from tests.support.checkout import ROOT
from tests.support.debian_image import debian_image
from tests.support.ports import free_ports

# docker-compose names the images after the project. The images stay as a cache, so each checkout has one name.
PROJECT = f"alts-test-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]}"
BASE_IMAGE = "alts-base:local"


class ComposeStack:
    """Build the stack, start it and wait until it is healthy; remove containers, volumes and networks at the end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.password = secrets.token_hex(16)
        self.scheduler_port, rabbitmq_port, self.s3_port = free_ports(3)
        self.url = f"http://127.0.0.1:{self.scheduler_port}"
        self.config = folder / "alts_config.yaml"
        self.env_file = folder / ".env"
        self._env = {
            **os.environ,
            "ALTS_CONFIG_FILE": str(self.config),
            "ALTS_BASE_IMAGE": os.environ.get("ALTS_BASE_IMAGE", BASE_IMAGE),
            "SCHEDULER_PORT": str(self.scheduler_port),
            "RABBITMQ_PORT": str(rabbitmq_port),
            "S3_PORT": str(self.s3_port),
        }

    def __enter__(self) -> Self:
        self._prepare()
        # A killed run leaves its stack behind, with other passwords in its volumes.
        self._remove()
        with ExitStack() as undo:
            undo.callback(self._remove)
            make_base_image(self._env["ALTS_BASE_IMAGE"])
            self.compose("up", "-d", "--build", seconds=840)
            undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            print(self.logs())
        self._remove()

    def compose(self, *arguments: str, seconds: float = 120) -> str:
        """Return the output of docker-compose. Raises AssertionError with the output if it fails."""
        done = subprocess.run(
            [*compose_command(), "--project-name", PROJECT, "--env-file", str(self.env_file), *arguments],
            cwd=ROOT,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-8000:]
        return done.stdout

    def logs(self, *services: str) -> str:
        return self.compose("logs", "--no-color", "--tail", "80", *services)

    def token(self) -> str:
        """Make a token with the command of README.md."""
        done = subprocess.run(
            [sys.executable, "generate_jwt_token.py", "-c", str(self.config), "-e", "some@email.com"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout.strip()

    @property
    def client(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.token()}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=10, trust_env=False)

    def _prepare(self) -> None:
        """Do the four preparation steps of README.md."""
        self.env_file.write_text(f"ALTS_PASSWORD={self.password}\n")
        text = (ROOT / "configs/example_config.yaml").read_text(encoding="utf-8")
        secret = secrets.token_hex(32)
        for key, value in (
            ("jwt_secret", secret),
            ("rabbitmq_password", self.password),
            ("s3_secret_access_key", self.password),
        ):
            text, filled_in = re.subn(rf'(?m)^{key}: ""$', f'{key}: "{value}"', text)
            assert filled_in == 1, key
        self.config.write_text(text, encoding="utf-8")

    def _remove(self) -> None:
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "20")


def compose_command() -> list[str]:
    """Return the command of docker-compose 1.29 or of Compose v2."""
    if command := shutil.which("docker-compose"):
        return [command]
    return ["docker", "compose"]


def make_base_image(name: str) -> None:
    """Make the base image if it is missing, without a registry. This also works on an open network.

    It is built on the image of Debian 12 that other tests use. tests/services/test_compose.py makes one from nothing.
    """
    client = docker.from_env()
    try:
        if client.images.list(name):
            return
    finally:
        client.close()
    assert name == BASE_IMAGE, f"ALTS_BASE_IMAGE={name} is not here"
    subprocess.run(
        ["resources/compose/base-image.sh", name],
        cwd=ROOT,
        env={**os.environ, "FROM_IMAGE": debian_image()},
        stdin=subprocess.DEVNULL,
        timeout=300,
        check=True,
    )


def belongings() -> list[str]:
    """Name the stack's present containers, volumes and networks."""
    client = docker.from_env()
    try:
        mine: dict[str, str | list[str] | bool] = {"label": f"com.docker.compose.project={PROJECT}"}
        return [
            *(f"container {one.name}" for one in client.containers.list(all=True, filters=mine)),
            *(f"volume {one.name}" for one in client.volumes.list(filters=mine)),
            *(f"network {one.name}" for one in client.networks.list(filters=mine)),
        ]
    finally:
        client.close()
