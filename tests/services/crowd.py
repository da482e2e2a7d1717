"""A crowd that sends hostile bodies, and somebody beside it who asks for /health: each in a process of its own."""

from __future__ import annotations

import http.client
import multiprocessing
import os
import socket
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import yaml

from alts.shared.tokens import Scope
from tests.builders import SECRET
from tests.hostile_bodies import Hostile
from tests.scheduler_parts import a_token
from tests.services.ports import answers, free_ports
from tests.services.server_process import ServerProcess

ROOT = Path(__file__).parent.parent.parent
# Longer than the worst that was seen before large bodies were bounded.
GIVE_UP = 120.0
_SPAWN = multiprocessing.get_context("spawn")


class LoneScheduler:
    """A scheduler process for as long as the `with` lasts, with a ledger in a folder and a broker that is away."""

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
        # Its first look at the parts takes longer than those that follow.
        httpx.get(f"http://127.0.0.1:{self.port}/health", timeout=GIVE_UP, trust_env=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.stop()

    @property
    def memory_mb(self) -> float:
        """What is resident now."""
        return self._status("VmRSS")

    @property
    def peak_mb(self) -> float:
        return self._status("VmHWM")

    def _status(self, key: str) -> float:
        assert self._process._process is not None
        lines = Path(f"/proc/{self._process._process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(key)).split()[1]) / 1024


@dataclass(frozen=True)
class Beside:
    """What whoever asked for /health has seen, in seconds, and how the crowd was answered."""

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
    """Let so many callers send the body again and again for that long, and ask for /health meanwhile."""
    jobs: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [(_ask_for_health, ())]
    if hostile is not None:
        jobs.append((_crowd, (_request(hostile), callers)))
    processes = [_Process(job, scheduler.port, *arguments) for job, arguments in jobs]
    ends = time.time() + seconds
    for process in processes:
        process.begin(ends)
    waits, *statuses = [process.answer() for process in processes]
    return Beside(tuple(waits), statuses[0] if statuses else {})


class _Process:
    """A function in a process of its own, so that it competes with nobody for an interpreter's lock."""

    def __init__(self, job: Callable[..., Any], *arguments: Any) -> None:
        self._pipe, other = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_when_told, args=(other, job, arguments))
        self._process.start()
        self._pipe.recv()

    def begin(self, ends: float) -> None:
        self._pipe.send(ends)

    def answer(self) -> Any:
        answer = self._pipe.recv()
        self._process.join()
        return answer


def _when_told(pipe: Connection, job: Callable[..., Any], arguments: Sequence[Any]) -> None:
    pipe.send("ready")
    pipe.send(job(*arguments, pipe.recv()))


def _request(hostile: Hostile) -> bytes:
    body = hostile.body
    head = f"POST {hostile.path} HTTP/1.1\r\nHost: alts\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(body)}\r\n"
    if hostile.scope is not None:
        scopes = (Scope.READ, Scope.WRITE) if hostile.scope is Scope.WRITE else (hostile.scope,)
        head += f"Authorization: Bearer {a_token(*scopes)}\r\n"
    return f"{head}\r\n".encode() + body


def _ask_for_health(port: int, ends: float) -> list[float]:
    waits = []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=GIVE_UP)
    while time.time() < ends:
        started = time.perf_counter()
        connection.request("GET", "/health")
        connection.getresponse().read()
        waits.append(time.perf_counter() - started)
        time.sleep(0.002)
    return waits


def _crowd(port: int, request: bytes, callers: int, ends: float) -> dict[int, int]:
    # Elsewhere it would not take the service's processors.
    os.nice(15)
    statuses: Counter[int] = Counter()
    threads = [threading.Thread(target=_caller, args=(port, request, ends, statuses)) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return dict(statuses)


def _caller(port: int, request: bytes, ends: float, statuses: Counter[int]) -> None:
    while time.time() < ends:
        statuses[_send(port, request)] += 1


def _send(port: int, request: bytes) -> int:
    """The answer's status; 0 where the connection was closed before it could be read."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=GIVE_UP) as connection:
        with suppress(ConnectionError):  # the answer may be there already
            connection.sendall(request)
        first = connection.recv(100)
        return int(first.split()[1]) if first else 0
    return 0
