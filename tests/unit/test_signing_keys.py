"""Keys that are fetched for a task: what is taken for one, and what is said of what is not."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network

import pytest

from alts.packages.openpgp import crc24, public_key
from alts.runners.signing_keys import with_keys
from alts.shared.errors import RepositoryUnreachable
from alts.shared.networks import DENIED, NetworkRules
from alts.shared.repository import armored_key
from alts.stop import Stop, Stopped
from alts.tools.http import download
from tests.builders import a_spec

# The site of these tests is on this host.
LOOPBACK = NetworkRules(DENIED, allowed=(ip_network("127.0.0.0/8"),))
# A version 4 Ed25519 key's packet with a key of zeros: what a key file begins with.
BINARY = bytes.fromhex("98 33 04 64000000 16 092b06010401da470f01 01 0740") + bytes(32)


def test_a_binary_key_is_armored_as_gpg_does_it() -> None:
    key = public_key(BINARY)

    assert armored_key(key) == key
    body = "".join(line for line in key.splitlines() if line and not line.startswith(("-", "=")))
    assert base64.b64decode(body) == BINARY


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

    with pytest.raises(RepositoryUnreachable, match="is no signing key"):
        with_keys(spec, stop=Stop(5), fetch=lambda url, stop: b"<html>")


class _Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/key")
            self.end_headers()
            return
        self.send_response(200 if self.path in ("/key", "/long") else 404)
        self.end_headers()
        self.wfile.write(b"x" * (200_000 if self.path == "/long" else 10))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Site)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
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


@pytest.mark.parametrize(("path", "says"), [("/gone", "answers 404"), ("/long", "larger than 64000 bytes")])
def test_a_file_that_cannot_be_had_is_a_repository_out_of_reach(site: str, path: str, says: str) -> None:
    with pytest.raises(RepositoryUnreachable, match=says):
        download(f"{site}{path}", stop=Stop(5), rules=LOOPBACK)


def test_a_server_that_is_not_there_is_a_repository_out_of_reach() -> None:
    with pytest.raises(RepositoryUnreachable, match="cannot be had"):
        download("http://127.0.0.1:9/key", stop=Stop(5), rules=LOOPBACK)


def test_nothing_is_fetched_when_the_time_is_up() -> None:
    with pytest.raises(Stopped):
        download("http://127.0.0.1:9/key", stop=Stop(0), rules=LOOPBACK)
