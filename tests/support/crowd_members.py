"""Callers over HTTP, each a separate process. The module imports the standard library only, to start quickly."""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
import threading
import time
from collections import Counter
from contextlib import suppress

# More than the longest wait seen before large bodies were limited.
GIVE_UP = 120.0  # seconds


def main() -> None:
    """Read the request, then the time at which to stop (seconds since the epoch).

    Ask for /health if there is no request.
    """
    port, length, callers = map(int, sys.argv[1:])
    request = sys.stdin.buffer.read(length)
    print("ready", flush=True)
    ends = float(sys.stdin.buffer.readline())
    print(json.dumps(send_again_and_again(port, request, callers, ends) if request else ask_for_health(port, ends)))


def ask_for_health(port: int, ends: float) -> list[float]:
    """Return the time that each answer took, in seconds."""
    waits = []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=GIVE_UP)
    while time.time() < ends:
        started = time.perf_counter()
        connection.request("GET", "/health")
        connection.getresponse().read()
        waits.append(time.perf_counter() - started)
        time.sleep(0.002)
    return waits


def send_again_and_again(port: int, request: bytes, callers: int, ends: float) -> dict[int, int]:
    """Count the answers by status."""
    # A real crowd runs on other hosts and does not take the service's processors.
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
    """Return the answer's status, or 0 if the connection was closed before it could be read."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=GIVE_UP) as connection:
        with suppress(ConnectionError):  # the answer may have arrived
            connection.sendall(request)
        first = connection.recv(100)
        return int(first.split()[1]) if first else 0
    return 0


if __name__ == "__main__":
    main()
