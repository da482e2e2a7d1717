"""Compare the requests that the scheduler accepts in a second with those of the same application without a ledger.

    python -m bench.posts [--seconds 5] [--clients 16] [--rounds 3]

Both take turns in one run. Each client sends the next request when it has the answer to the last one.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from scheduler.api.application import create_app
from scheduler.ledger.tasks import Tasks
from tests.support.checkout import ROOT
from tests.support.ports import answers, free_ports
from tests.support.scheduler_parts import HandClock, a_ledger, bearer, some_services
from tests.support.stack import until

BODY = {"dist_name": "debian", "dist_version": "12", "dist_arch": "x86_64", "package_name": "hello"}
BARE, WITH_LEDGER = "without a ledger", "with a ledger"


@dataclass(frozen=True)
class Sample:
    """One round of one contender."""

    contender: str
    a_second: float
    p99: float
    """Seconds within which 99 of 100 answers came."""


class Forgetful(Tasks):
    """Accepts tasks and stores nothing."""

    def __init__(self) -> None:
        pass

    def add(self, *_request: object, **_more: object) -> str:
        return str(uuid.uuid4())


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    if options.serve:
        _serve(Path(options.serve[0]), int(options.serve[1]), bare=options.serve[2] == BARE)
        return 0
    samples = []
    with tempfile.TemporaryDirectory(prefix="alts-bench-") as name:
        for number in range(options.rounds):
            for contender in (BARE, WITH_LEDGER):
                with _served(Path(name) / f"{contender}-{number}", contender) as port:
                    sample = _measure(contender, port, clients=options.clients, seconds=options.seconds)
                    samples.append(sample)
                    print(f"{contender:<18} {sample.a_second:7.0f}/s, p99 {sample.p99 * 1000:.0f} ms", flush=True)
    medians = {
        contender: statistics.median(one.a_second for one in samples if one.contender == contender)
        for contender in (BARE, WITH_LEDGER)
    }
    print(f"ratio {medians[WITH_LEDGER] / medians[BARE]:.2f} (goal 0.85)")
    return 0


def _serve(folder: Path, port: int, *, bare: bool) -> None:
    ledger = a_ledger(folder, HandClock(time.time()))
    if bare:
        ledger.tasks = Forgetful()
    services = some_services(folder, ledger, caller_requests_per_minute=0, caller_unfinished_tasks=0)
    app = create_app(services)
    uvicorn.run(app, http="h11", host="127.0.0.1", port=port, log_config=None)


@contextmanager
def _served(folder: Path, contender: str) -> Iterator[int]:
    folder.mkdir()
    [port] = free_ports(1)
    argv = [sys.executable, "-m", "bench.posts", "--serve", str(folder), str(port), contender]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: answers(port), seconds=60)
            yield port
        finally:
            process.kill()


def _measure(contender: str, port: int, *, clients: int, seconds: float) -> Sample:
    took: list[float] = []
    end = time.monotonic() + seconds
    threads = [threading.Thread(target=_client, args=(port, end, took)) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Sample(contender, len(took) / seconds, statistics.quantiles(took, n=100)[98])


def _client(port: int, end: float, took: list[float]) -> None:
    body = json.dumps(BODY).encode()
    head = [
        "POST /tasks/schedule HTTP/1.1",
        "Host: localhost",
        f"Authorization: {bearer()['Authorization']}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    request = "\r\n".join([*head, "", ""]).encode() + body
    with socket.create_connection(("127.0.0.1", port)) as connection:
        while (begun := time.monotonic()) < end:
            connection.sendall(request)
            answer = connection.recv(65_536)
            while not answer.endswith(b"}"):
                answer += connection.recv(65_536)
            if not answer.startswith(b"HTTP/1.1 201"):
                raise RuntimeError(answer.decode(errors="replace"))
            took.append(time.monotonic() - begun)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.posts", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
