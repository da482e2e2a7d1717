"""A mirror for machines that a test can break: a server of a folder, and a proxy for all other servers."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import random
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from tests.support.deb_repository import bridge_address

# Constant bytes, like a file that a broken cache in between has damaged.
_GARBAGE = random.Random(0)
_PORTAL = b"<html><body><h1>Welcome to our network</h1><p>Please accept the conditions of use.</p></body></html>"


class Fault(StrEnum):
    """The mirror's treatment of every request from now on."""

    NONE = "none"
    UNAVAILABLE = "503"
    GONE = "404"
    """The file is missing, as in the middle of a mirror's own update: the index names it."""
    GARBAGE = "garbage"
    """Content of the right length, and wrong."""
    PORTAL = "portal"
    """A login page of some network instead of every file."""
    SHORT = "short"
    """Half of the file, sent as if it were complete."""
    RESET = "reset"
    """Half of the file, then the connection breaks."""
    HANG = "hang"
    """Half of the file, then silence."""
    ENDLESS = "endless"
    """An endless answer without a length."""


@dataclass(frozen=True)
class Answer:
    """A server's answer to a GET."""

    status: int
    body: bytes
    headers: Mapping[str, str]


class Elsewhere(Protocol):
    """The servers behind a mirror."""

    def get(self, url: str) -> Answer: ...


@dataclass
class Memory:
    """Remembers the answers of other servers, so each is asked once for all mirrors."""

    _answers: dict[str, Answer] = field(default_factory=dict)
    _locks: dict[str, threading.Lock] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, url: str) -> Answer:
        with self._lock:
            lock = self._locks.setdefault(url, threading.Lock())
        with lock:
            if url not in self._answers:
                answer = _fetch(url)
                if answer.status != http.client.OK:
                    return answer
                self._answers[url] = answer
            return self._answers[url]


def _fetch(url: str) -> Answer:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=60)
    try:
        connection.request("GET", url.partition(parts.netloc)[2] or "/")
        reply = connection.getresponse()
        kept = {key: value for key, value in reply.getheaders() if key.lower() in ("last-modified", "content-type")}
        return Answer(reply.status, reply.read(), kept)
    finally:
        connection.close()


class Mirror:
    """Serves the folder at `url`. As a proxy, at the same address, it fetches every other URL."""

    def __init__(self, url: str, folder: Path, memory: Elsewhere, *, key: str = "") -> None:
        """`key` is the armored key that signs the indexes of other servers, if their own keys do not."""
        self.url = url
        self.key = key
        self._faults: dict[str | None, tuple[Fault, bool]] = {}
        """Faults by the machine's address. None is every other machine."""
        self.released = threading.Event()
        """Set at the end: every silence is over."""
        self._folder = folder
        self._memory = memory

    def break_down(self, fault: Fault, *, machine: str | None, own_too: bool) -> None:
        """Set the fault of the machine with that address; None is every machine.

        `own_too` says whether the folder's own files go bad as well.
        """
        self._faults[machine] = (fault, own_too)

    def is_well(self, *, machine: str) -> None:
        """Clear the fault of the machine with that address, which another machine may have had before."""
        self._faults.pop(machine, None)

    def fault_of(self, target: str, machine: str) -> Fault:
        fault, own_too = self._faults.get(machine) or self._faults.get(None, (Fault.NONE, False))
        own = not target.startswith("http://") or target.startswith(self.url)
        return Fault.NONE if own and not own_too else fault

    def answer(self, target: str) -> Answer:
        """Return the correct answer."""
        if target.startswith("http://") and not target.startswith(self.url):
            return self._memory.get(target)
        path = self._folder / unquote(urlsplit(target).path).lstrip("/")
        if not path.is_file():
            return Answer(http.client.NOT_FOUND, b"", {})
        return Answer(http.client.OK, path.read_bytes(), {"Content-Type": "application/octet-stream"})


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    mirror: Mirror

    def do_GET(self) -> None:
        fault = self.mirror.fault_of(self.path, self.client_address[0])
        if fault is Fault.UNAVAILABLE:
            self._send(Answer(http.client.SERVICE_UNAVAILABLE, b"", {}))
        elif fault is Fault.GONE:
            self._send(Answer(http.client.NOT_FOUND, b"", {}))
        elif fault is Fault.PORTAL:
            self._send(Answer(http.client.OK, _PORTAL, {"Content-Type": "text/html"}))
        elif fault is Fault.ENDLESS:
            self._send_on()
        else:
            self._send_from(self.mirror.answer(self.path), fault)

    def _send_from(self, right: Answer, fault: Fault) -> None:
        half = right.body[: len(right.body) // 2]
        if fault is Fault.NONE or right.status != http.client.OK:
            self._send(right)
        elif fault is Fault.GARBAGE:
            self._send(Answer(right.status, _GARBAGE.randbytes(len(right.body)), right.headers))
        elif fault is Fault.SHORT:
            self._send(Answer(right.status, half, right.headers))
        else:
            self._send(right, body=half)
            self.close_connection = True
            if fault is Fault.HANG:
                self.mirror.released.wait(120)
            # With a linger time of zero the other side sees a reset, not an end (socket(7), SO_LINGER).
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _send_on(self) -> None:
        self.close_connection = True
        with contextlib.suppress(ConnectionError):
            self.send_response(http.client.OK)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            # Some 30 MB a second, because many other tests wait for the host.
            while not self.mirror.released.wait(0.002):
                self.wfile.write(b"10000\r\n" + b"-" * 0x10000 + b"\r\n")

    def _send(self, answer: Answer, *, body: bytes | None = None) -> None:
        with contextlib.suppress(ConnectionError):
            self.send_response(answer.status)
            for key, value in answer.headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body if body is None else body)
            self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@contextmanager
def mirror(folder: Path, memory: Elsewhere, *, key: str = "") -> Iterator[Mirror]:
    """Serve a mirror of the folder at an address that containers reach. `key` is as for Mirror."""
    handler = type("Handler", (_Handler,), {})
    server = http.server.ThreadingHTTPServer((bridge_address(), 0), handler)
    server.daemon_threads = True
    host, port = server.server_address[0], server.server_port
    served = Mirror(f"http://{host!s}:{port}/", folder, memory, key=key)
    handler.mirror = served  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    thread.start()
    try:
        yield served
    finally:
        served.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
