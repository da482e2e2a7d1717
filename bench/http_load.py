"""Clients that send one request after the other over a connection each, as fast as they are answered.

By hand: a client library in Python costs more processor time than the scheduler that it measures.
"""

from __future__ import annotations

import json
import socket
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.support.scheduler_parts import bearer

BODY = {"dist_name": "debian", "dist_version": "12", "dist_arch": "x86_64", "package_name": "hello"}
_TIMEOUT = 60.0  # seconds, for an answer


@dataclass(frozen=True)
class Load:
    """How fast requests were answered."""

    a_second: float
    p50: float
    """Seconds within which half of the answers came."""
    p99: float
    """Seconds within which 99 of 100 answers came."""


def post_tasks(
    *ports: int, clients: int, seconds: float | None = None, count: int | None = None, package: str = "hello"
) -> Load:
    """Schedule tasks for some seconds, or that many, at schedulers that share them.

    Raises RuntimeError for an answer other than 201.
    """
    body = json.dumps({**BODY, "package_name": package}).encode()
    head = ["POST /tasks/schedule HTTP/1.1", *_headers(), "Content-Type: application/json"]
    request = "\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + body
    return _load(ports, request, status=201, clients=clients, more=_budget(seconds, count))


def get_results(port: int, task_id: str, *, clients: int, seconds: float) -> Load:
    """Poll a task's result for some seconds. Raises RuntimeError for an answer other than 200."""
    request = "\r\n".join([f"GET /tasks/{task_id}/result HTTP/1.1", *_headers(), "", ""]).encode()
    return _load([port], request, status=200, clients=clients, more=_budget(seconds, None))


def _headers() -> list[str]:
    return ["Host: localhost", f"Authorization: {bearer()['Authorization']}"]


def _budget(seconds: float | None, count: int | None) -> Callable[[], bool]:
    """Return a function that says whether to send another request."""
    end = None if seconds is None else time.monotonic() + seconds
    left = None if count is None else iter(range(count))
    lock = threading.Lock()

    def more() -> bool:
        if end is not None and time.monotonic() > end:
            return False
        with lock:
            return left is None or next(left, None) is not None

    return more


def _load(ports: Sequence[int], request: bytes, *, status: int, clients: int, more: Callable[[], bool]) -> Load:
    took: list[float] = []
    errors: list[Exception] = []

    def work(port: int) -> None:
        try:
            _client(port, request, status=status, more=more, took=took)
        except (OSError, RuntimeError) as error:
            errors.append(error)

    begun = time.monotonic()
    threads = [threading.Thread(target=work, args=[ports[number % len(ports)]]) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    hundredths = statistics.quantiles(took, n=100)
    return Load(len(took) / (time.monotonic() - begun), hundredths[49], hundredths[98])


def _client(port: int, request: bytes, *, status: int, more: Callable[[], bool], took: list[float]) -> None:
    expected = f"HTTP/1.1 {status} ".encode()
    with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT) as connection:
        while more():
            begun = time.monotonic()
            connection.sendall(request)
            answer = _answer(connection)
            if not answer.startswith(expected):
                raise RuntimeError(answer.decode(errors="replace"))
            took.append(time.monotonic() - begun)


def _answer(connection: socket.socket) -> bytes:
    """Receive a response whose length is announced. Raises RuntimeError if the connection ends before."""
    answer = b""
    while (end := answer.find(b"\r\n\r\n")) < 0 or len(answer) < end + 4 + _length(answer[:end]):
        piece = connection.recv(1 << 20)
        if not piece:
            raise RuntimeError(f"the connection ended after {answer[:200]!r}")
        answer += piece
    return answer


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return int(value)
    raise RuntimeError(f"no length in {head!r}")
