"""A crowd that sends hostile bodies, and a caller beside it that asks for /health. Each is a separate process."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import yaml

from alts.shared.auth.tokens import Scope
from tests.support.builders import SECRET
from tests.support.checkout import ROOT
from tests.support.crowd_members import GIVE_UP
from tests.support.hostile_bodies import Hostile
from tests.support.ports import answers, free_ports
from tests.support.scheduler_parts import a_token
from tests.support.server_process import ServerProcess


class LoneScheduler:
    """A scheduler process with a ledger in a folder and a broker that is away."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.port, broker_port = free_ports(2)
        self._log = folder / "scheduler.log"
        path = folder / "config.yaml"
        settings = {
            "jwt_secret": SECRET,
            "database_url": f"sqlite:///{folder}/ledger.sqlite",
            "rabbitmq_host": "127.0.0.1",
            "rabbitmq_port": broker_port,
            "rabbitmq_password": "nobody-listens-there",
            "storage": "folder",
            "storage_folder": str(folder / "storage"),
            **changes,
        }
        path.write_text(yaml.safe_dump(settings))
        self._process = ServerProcess(
            [sys.executable, "-m", "uvicorn", "scheduler.app:app", "--port", str(self.port), "--http", "h11"],
            env={**os.environ, "ALTS_CONFIG": str(path)},
            folder=ROOT,
            log=self._log,
        )

    def __enter__(self) -> Self:
        self._process.start(ready=lambda: answers(self.port))
        prefer(self._process.pid)
        # The first check of all parts takes longer than the later ones.
        httpx.get(f"http://127.0.0.1:{self.port}/health", timeout=GIVE_UP, trust_env=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.stop()

    @property
    def memory_mb(self) -> float:
        """The resident memory now."""
        return self._status("VmRSS")

    @property
    def peak_mb(self) -> float:
        return self._status("VmHWM")

    def _status(self, key: str) -> float:
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(key)).split()[1]) / 1024


@dataclass(frozen=True)
class Beside:
    """The waits of the caller of /health, in seconds, and the statuses that the crowd got."""

    waits: tuple[float, ...]
    statuses: Mapping[int, int]

    @property
    def median(self) -> float:
        return statistics.median(self.waits)

    @property
    def p99(self) -> float:
        return sorted(self.waits)[int(len(self.waits) * 0.99)]

    @property
    def longest(self) -> float:
        return max(self.waits)


def beside(scheduler: LoneScheduler, hostile: Hostile | None, *, callers: int, seconds: float) -> Beside:
    """Let `callers` callers send the body repeatedly for `seconds`, and ask for /health meanwhile."""
    members = [_Member(scheduler.port, b"", 1)]
    if hostile is not None:
        members.append(_Member(scheduler.port, _request(hostile), callers))
    ends = time.time() + seconds
    for member in members:
        member.begin(ends)
    waits, *statuses = [member.answer() for member in members]
    return Beside(tuple(waits), {int(status): count for status, count in statuses[0].items()} if statuses else {})


def prefer(pid: int) -> None:
    """Let the process's session come before other load on this machine, such as other tests. Only root may.

    The kernel shares the processors among sessions (sched(7), "The autogroup feature"), so the process's own nice value
    counts in its session only.
    """
    with suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text("-10")


class _Member:
    """A separate process, so that no other member competes for its interpreter lock."""

    def __init__(self, port: int, request: bytes, callers: int) -> None:
        asks_for_health = not request
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.crowd_members", str(port), str(len(request)), str(callers)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=asks_for_health,
        )
        if asks_for_health:
            prefer(self._process.pid)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(request)
        self._process.stdin.flush()
        self._process.stdout.readline()

    def begin(self, ends: float) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{ends}\n".encode())
        self._process.stdin.flush()

    def answer(self) -> Any:
        answer, _ = self._process.communicate(timeout=2 * GIVE_UP)
        return json.loads(answer)


def _request(hostile: Hostile) -> bytes:
    body = hostile.body
    head = f"POST {hostile.path} HTTP/1.1\r\nHost: alts\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(body)}\r\n"
    if hostile.scope is not None:
        scopes = (Scope.READ, Scope.WRITE) if hostile.scope is Scope.WRITE else (hostile.scope,)
        head += f"Authorization: Bearer {a_token(*scopes)}\r\n"
    return f"{head}\r\n".encode() + body
