"""The embedded service as a separate process, with stub machines and a clock that a test sets."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import yaml
from pydantic import SecretStr

from alts.shared.auth.tokens import issue_token
from tests.chaos.clock import WallClock
from tests.support.builders import SECRET
from tests.support.checkout import ROOT
from tests.support.ports import free_ports
from tests.support.server_process import ServerProcess
from tests.support.stack import wait_for

PROMPT = 30.0
"""Time limit for a task on a stub machine, in seconds, for a busy host. An idle host needs less than a second."""


def client_of(port: int) -> httpx.Client:
    """Return a client with a token that is also good on a host whose clock is wrong by hours."""
    begun, lasting = datetime.now(UTC) - timedelta(hours=6), timedelta(hours=12)
    token = issue_token(SecretStr(SECRET), algorithm="HS256", email="me@example.org", lifetime=lasting, now=begun)
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=10, trust_env=False)


class Embedded:
    """An embedded service with stub machines and a separate clock. It can be restarted."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        (port,) = free_ports(1)
        self.clock = WallClock(folder / "clock")
        self.client = client_of(port)
        self._log = folder / "service.log"
        config = folder / "config.yaml"
        settings = {
            "jwt_secret": SECRET,
            "broker": "memory",
            "storage": "folder",
            "database_url": f"sqlite:///{folder}/ledger.sqlite",
            "storage_folder": str(folder / "storage"),
            "work_folder": str(folder / "work"),
            "retry_delay": 0.5,
            "lease_seconds": 5,
            "reconcile_interval": 0.5,
            "min_free_disk_mb": 16,
            "drain_timeout": 1,
            **changes,
        }
        config.write_text(yaml.safe_dump(settings))
        argv = ["tests.chaos.clock", "tests.chaos.embedded_app", str(config), str(port), str(folder)]
        env = {**os.environ, **self.clock.environment}
        self._process = ServerProcess([sys.executable, "-m", *argv], env=env, folder=ROOT, log=self._log)

    def start(self) -> None:
        said = self._log.read_text().count("serving") if self._log.exists() else 0
        self._process.start(ready=lambda: self._log.read_text().count("serving") > said)

    def kill(self) -> None:
        self._process.kill()

    def ends(self, task_id: str) -> str:
        """Return the outcome of a task, which must come promptly."""
        return str(wait_for(self.client, task_id, seconds=PROMPT)["outcome"])
