"""Fetching a task's keys: which content is accepted as a key, and the messages about the rest."""

from __future__ import annotations

import base64
import gzip
import socket
import socketserver
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network

import pytest

from alts.core.stop import Stop, Stopped, StopReason
from alts.host.download import download
from alts.provisioning.signing_keys import with_keys
from alts.shared.errors import RepositoryUnreachable
from alts.shared.network_rules import DENIED, NetworkRules
from alts.shared.openpgp import armored_key, crc24, public_key
from tests.support.builders import a_spec

# The site of these tests is on this host.
LOOPBACK = NetworkRules(DENIED, allowed=(ip_network("127.0.0.0/8"),))
# The packet of a version 4 Ed25519 key that is all zeros, the beginning of a key file.
BINARY = bytes.fromhex("98 33 04 64000000 16 092b06010401da470f01 01 0740") + bytes(32)


def test_a_binary_key_is_armored_as_gpg_does_it() -> None:
    key = public_key(BINARY)

    assert armored_key(key) == key
    body = "".join(line for line in key.splitlines() if line and not line.startswith(("-", "=")))
    assert base64.b64decode(body) == BINARY


def test_of_a_file_with_words_and_several_keys_all_the_keys_are_taken() -> None:
    other = BINARY[:-1] + b"\1"
    file = f"The following keys are\nours:\n\n{public_key(BINARY)}\npub   ed25519\n{public_key(other)}\n"

    key = public_key(file.encode())

    body = "".join(line for line in key.splitlines() if line and not line.startswith(("-", "=")))
    assert base64.b64decode(body) == BINARY + other
    assert armored_key(key) == key
    assert armored_key(f"a word before\n{public_key(BINARY)}and one after") == public_key(BINARY)


@pytest.mark.parametrize(
    "beside", ["-----BEGIN PGP PRIVATE KEY BLOCK-----\n", "-----BEGIN PGP PUBLIC KEY BLOCK-----\nx!\n"]
)
def test_what_stands_beside_a_key_and_is_none_spoils_it(beside: str) -> None:
    with pytest.raises(ValueError, match="accepted"):
        armored_key(public_key(BINARY) + beside)


def test_the_checksum_is_that_of_the_standard() -> None:
    # The check value that the catalogue of CRC algorithms has for CRC-24/OPENPGP.
    assert crc24(b"123456789") == 0x21CF02


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"-----BEGIN PGP MESSAGE-----\n"])
def test_what_is_no_key_is_not_taken_for_one(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"accepted|not an OpenPGP"):
        public_key(content)


def test_addresses_are_replaced_and_keys_are_kept() -> None:
    key = public_key(BINARY)
    spec = a_spec(
        repositories=[
            {"url": "http://a.example/", "gpg_key": "http://a.example/key.gpg"},
            {"url": "http://b.example/", "gpg_key": key},
            {"url": "http://c.example/"},
        ]
    )

    fetched = with_keys(spec, stop=Stop(5), fetch=lambda url, stop: BINARY)

    assert [repository.gpg_key for repository in fetched.repositories] == [key, key, None]


def test_something_else_at_the_address_is_named() -> None:
    spec = a_spec(repositories=[{"url": "http://a.example/", "gpg_key": "http://a.example/key"}])

    with pytest.raises(RepositoryUnreachable, match="does not contain a signing key"):
        with_keys(spec, stop=Stop(5), fetch=lambda url, stop: b"<html>")


class _Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/key")
            self.end_headers()
            return
        answers = {"/key": b"x" * 10, "/long": b"x" * 200_000, "/encoding": self.headers["Accept-Encoding"].encode()}
        self.send_response(200 if self.path in answers else 404)
        self.end_headers()
        self.wfile.write(answers.get(self.path, b""))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Site)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_file_is_fetched_where_it_is_and_where_it_has_moved_to(site: str) -> None:
    assert (
        download(f"{site}/key", stop=Stop(5), rules=LOOPBACK)
        == download(f"{site}/moved", stop=Stop(5), rules=LOOPBACK)
        == b"x" * 10
    )


@pytest.mark.parametrize(("path", "says"), [("/gone", "answered 404"), ("/long", "larger than 64000 bytes")])
def test_a_file_that_cannot_be_had_is_a_repository_out_of_reach(site: str, path: str, says: str) -> None:
    with pytest.raises(RepositoryUnreachable, match=says):
        download(f"{site}{path}", stop=Stop(5), rules=LOOPBACK)


def test_a_server_that_is_not_there_is_a_repository_out_of_reach() -> None:
    with pytest.raises(RepositoryUnreachable, match="could not be fetched"):
        download("http://127.0.0.1:9/key", stop=Stop(5), rules=LOOPBACK)


def test_nothing_is_fetched_when_the_time_is_up() -> None:
    with pytest.raises(Stopped):
        download("http://127.0.0.1:9/key", stop=Stop(0), rules=LOOPBACK)


# hostile servers


class _Raw(socketserver.ThreadingTCPServer):
    """Send pieces with a pause before each, for 30 s at most, so that a broken test ends, too."""

    daemon_threads = True

    def __init__(self, pieces: Iterable[bytes], pause: float) -> None:
        super().__init__(("127.0.0.1", 0), _RawAnswer)
        self.pieces = pieces
        self.pause = pause
        self.closed = threading.Event()


class _RawAnswer(socketserver.BaseRequestHandler):
    server: _Raw

    def handle(self) -> None:
        until = time.monotonic() + 30
        with suppress(OSError):
            self.request.recv(65_536)
            for piece in self.server.pieces:
                if self.server.closed.wait(self.server.pause) or time.monotonic() > until:
                    return
                self.request.sendall(piece)


@contextmanager
def raw_site(pieces: Iterable[bytes], *, pause: float = 0) -> Iterator[str]:
    """Yield host and port of a server that sends these pieces to every client."""
    with _Raw(pieces, pause) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.02], daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.closed.set()
        server.shutdown()
        thread.join()


@contextmanager
def soon() -> Iterator[None]:
    """It ends long before the servers of these tests give up by themselves."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("encoding", ["gzip, gzip", "gzip", "deflate", "identity, gzip", "br", "x-unheard-of"])
def test_a_compressed_file_is_refused_before_any_of_it_is_read(encoding: str) -> None:
    answer = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: 640\r\n\r\n".encode()

    with (
        raw_site([answer, *[b""] * 300], pause=0.1) as host,
        soon(),
        pytest.raises(RepositoryUnreachable, match="compressed") as refusal,
    ):
        download(f"http://{host}/", stop=Stop(20), rules=LOOPBACK)

    assert not refusal.value.retryable


def test_a_file_that_unpacks_to_a_thousand_times_its_size_is_refused() -> None:
    bomb = gzip.compress(gzip.compress(bytes(50_000_000)))

    with (
        raw_site([b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip, gzip\r\n\r\n", bomb]) as host,
        pytest.raises(RepositoryUnreachable, match="compressed"),
    ):
        download(f"http://{host}/", stop=Stop(20), rules=LOOPBACK)


def test_it_is_asked_for_as_it_is(site: str) -> None:
    assert download(f"{site}/encoding", stop=Stop(5), rules=LOOPBACK) == b"identity"


def test_a_server_may_say_that_it_is_as_it_is() -> None:
    with raw_site([b"HTTP/1.1 200 OK\r\nContent-Encoding: Identity\r\n\r\nkey"]) as host:
        assert download(f"http://{host}/", stop=Stop(5), rules=LOOPBACK) == b"key"


def test_what_a_redirect_has_for_a_body_is_not_read(site: str) -> None:
    answer = f"HTTP/1.1 302 Found\r\nLocation: {site}/key\r\nContent-Encoding: gzip\r\nContent-Length: 640\r\n\r\n"

    with raw_site([answer.encode(), *[b""] * 300], pause=0.1) as host, soon():
        assert download(f"http://{host}/", stop=Stop(20), rules=LOOPBACK) == b"x" * 10


def test_redirects_that_lead_nowhere_end() -> None:
    with (
        raw_site([b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"]) as host,
        pytest.raises(RepositoryUnreachable, match="redirects more than 20 times"),
    ):
        download(f"http://{host}/", stop=Stop(20), rules=LOOPBACK)


OK = b"HTTP/1.1 200 OK\r\n"
LONG = 1000  # pieces, each after a tenth of a second
TARPITS = {
    "TLS": ("https", [b""] * LONG),
    "no answer": ("http", [b""] * LONG),
    "a header": ("http", [OK + b"X-Long: ", *[b"a"] * LONG]),
    "one more moment": ("http", [b"HTTP/1.1 100 Continue\r\n\r\n"] * LONG),
    "no body": ("http", [OK + b"Content-Length: 1000\r\n\r\n", *[b""] * LONG]),
    "a chunk's head": ("http", [OK + b"Transfer-Encoding: chunked\r\n\r\n1;", *[b"a"] * LONG]),
    "redirects": ("http", [*[b""] * 20, b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"]),
}


@pytest.mark.parametrize(("scheme", "pieces"), TARPITS.values(), ids=TARPITS)
def test_a_cancel_ends_a_download_wherever_it_is(scheme: str, pieces: Iterable[bytes]) -> None:
    stop = Stop(3600)
    threading.Timer(0.3, stop.request, [StopReason.CANCELLED]).start()

    with raw_site(pieces, pause=0.1) as host, soon(), pytest.raises(Stopped, match="cancelled"):
        download(f"{scheme}://{host}/", stop=stop, rules=LOOPBACK)


@pytest.mark.parametrize("where", ["a header", "a chunk's head"])
def test_a_deadline_ends_a_download(where: str) -> None:
    with raw_site(TARPITS[where][1], pause=0.1) as host, soon(), pytest.raises(Stopped, match="deadline"):
        download(f"http://{host}/", stop=Stop(0.3), rules=LOOPBACK)


@pytest.mark.parametrize("where", ["a header", "a chunk's head"])
def test_a_download_has_a_limit_of_its_own(where: str) -> None:
    with (
        raw_site(TARPITS[where][1], pause=0.1) as host,
        soon(),
        pytest.raises(RepositoryUnreachable, match="takes longer than") as refusal,
    ):
        download(f"http://{host}/", stop=Stop(3600), rules=LOOPBACK, time_limit=0.3)

    assert refusal.value.retryable


def test_a_cancel_ends_a_download_that_does_not_get_through() -> None:
    stop = Stop(3600)
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as server,
        socket.socket() as first,
        socket.socket() as next_,
    ):
        # Linux leaves further connections unanswered while nobody accepts the waiting ones.
        for waiting in (first, next_):
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        threading.Timer(0.3, stop.request, [StopReason.CANCELLED]).start()

        with soon(), pytest.raises(Stopped, match="cancelled"):
            download(f"http://127.0.0.1:{server.getsockname()[1]}/", stop=stop, rules=LOOPBACK)


def test_a_download_that_is_cancelled_leaves_no_connection_behind() -> None:
    stop = Stop(3600)
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        server.settimeout(20)
        ends = pool.submit(download, f"https://127.0.0.1:{server.getsockname()[1]}/", stop=stop, rules=LOOPBACK)
        connection, _ = server.accept()
        stop.request(StopReason.CANCELLED)
        with pytest.raises(Stopped):
            ends.result(20)

        with connection:
            connection.settimeout(5)
            while connection.recv(65_536):  # TimeoutError if the other side is still there
                pass
