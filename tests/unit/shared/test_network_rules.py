"""Permitted places of repositories: every spelling of an address, and the worker's real connections."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from alts.core.stop import Stop, Stopped, StopReason
from alts.host.dns import Resolve, addresses_of
from alts.host.download import download
from alts.provisioning.repository_hosts import check_hosts
from alts.shared.errors import RepositoryUnreachable
from alts.shared.network_rules import DEFAULT_RULES, DENIED, Address, NetworkRules, literal_address
from scheduler.api.application import create_app
from tests.support.builders import a_spec
from tests.support.scheduler_parts import HandClock, a_ledger, bearer, some_services

METADATA = [
    "169.254.169.254",
    "0xa9fea9fe",
    "2852039166",
    "0251.0376.0251.0376",
    "0251.254.43518",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[64:ff9b::169.254.169.254]",
    "[2002:a9fe:a9fe::]",
    "[::169.254.169.254]",
    "[fd00:ec2::254]",
    "[fd00:0ec2:0:0::0254]",
    "[fd20:ce::254]",
    "100.100.100.200",
    "168.63.129.16",
]
LOOPBACK = [
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "0x7f.1",
    "0x7F.0.0.1",
    "2130706433",
    "017700000001",
    "127.255.255.254",
    "0",
    "0.0.0.0",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "localhost",
    "LocalHost",
    "localhost.",
    "a.localhost",
]
ELSEWHERE = ["169.254.0.1", "[fe80::1]", "224.0.0.1", "255.255.255.255", "[ff02::1]"]
FINE = [
    "deb.debian.org",
    "10.0.0.1",
    "172.17.0.1",
    "192.168.1.1",
    "8.8.8.8",
    "[fd00::1]",
    "[2606:4700::1]",
    "localhost.example.org",
]


@pytest.mark.parametrize("host", METADATA + LOOPBACK + ELSEWHERE)
def test_whatever_way_it_is_written_an_address_is_denied(host: str) -> None:
    assert DEFAULT_RULES.denies_host(host)


@pytest.mark.parametrize(
    "host", [*FINE, "127.0.0.1.a.org", "0x7f.1.a.org", "1.2.3.4.5", "08.0.0.1x", "256.256.256.256"]
)
def test_private_networks_and_names_are_not(host: str) -> None:
    assert not DEFAULT_RULES.denies_host(host)


@given(st.ip_addresses(v=4))
def test_every_spelling_of_an_address_is_that_address(address: IPv4Address) -> None:
    number = int(address)
    one, *_rest, four = address.packed
    spellings = [
        str(address),
        f"{address}.",
        str(number),
        hex(number),
        f"0{number:o}",
        f"{hex(one)}.{number & 0xFFFFFF}",
        f"{one}.{number >> 16 & 0xFF}.{number & 0xFFFF}",
        f"{number >> 24}.{number >> 16 & 255}.{number >> 8 & 255}.0{four:o}",
    ]

    assert {literal_address(text) for text in spellings} == {address}
    rules = NetworkRules(denied=(ip_network(f"{address}/32"),))
    within = [f"::ffff:{address}", f"64:ff9b::{address}", f"2002:{number >> 16:x}:{number & 0xFFFF:x}::1"]
    assert all(rules.denies(IPv6Address(text)) for text in within)


def test_exceptions_win_and_leave_the_rest_denied() -> None:
    rules = NetworkRules(DENIED, allowed=(ip_network("127.0.0.2/32"), ip_network("::1/128")))

    assert not rules.denies(ip_address("127.0.0.2"))
    assert not rules.denies(ip_address("::ffff:127.0.0.2"))
    assert not rules.denies(ip_address("::1"))
    assert rules.denies(ip_address("127.0.0.1"))


# at the API


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    return TestClient(create_app(some_services(tmp_path, a_ledger(tmp_path, HandClock()))))


def schedule(client: TestClient, **repository: Any) -> Any:
    body = {**a_spec().model_dump(mode="json"), "repositories": [{"url": "http://a.example/"}, repository]}
    return client.post("/tasks/schedule", json=body, headers=bearer())


@pytest.mark.parametrize("host", METADATA + LOOPBACK + ELSEWHERE)
def test_a_denied_address_is_refused_before_anything_is_queued(client: TestClient, host: str) -> None:
    for field, repository in [
        ("url", {"url": f"http://{host}/debian sid main"}),
        ("url", {"url": f"https://{host}:8080/"}),
        ("url", {"url": f"Types: deb\nURIs: http://{host}/\nSuites: ./\n"}),
        ("gpg_key", {"url": "http://b.example/", "gpg_key": f"https://{host}/key"}),
    ]:
        answer = schedule(client, **repository)

        assert answer.status_code == 422, repository
        [problem] = answer.json()["detail"]
        assert problem["loc"] == ["body", "repositories", 1, field]


@pytest.mark.parametrize("host", FINE)
def test_any_other_is_taken(client: TestClient, host: str) -> None:
    assert schedule(client, url=f"http://{host}/debian sid main").status_code == 201


@pytest.mark.parametrize("field", ["url", "gpg_key"])
def test_a_password_in_a_url_is_refused_and_not_said_again(client: TestClient, field: str) -> None:
    answer = schedule(client, **{"url": "http://b.example/", field: "https://me:very-secret@b.example/x"})

    assert answer.status_code == 422
    assert "credentials" in answer.json()["detail"][0]["msg"]
    assert "very-secret" not in answer.text


# at the worker, before a machine is made


def resolving(**names: Sequence[str]) -> Callable[[str], tuple[Address, ...]]:
    known = {name.replace("_", "."): [ip_address(text) for text in found] for name, found in names.items()}
    return lambda host: tuple(known.get(host, ()))


@pytest.mark.parametrize(
    "found", [["127.0.0.1"], ["93.184.216.34", "169.254.169.254"], ["::1"], ["::ffff:169.254.169.254"]], ids=str
)
@pytest.mark.parametrize("field", ["url", "gpg_key"])
def test_a_name_that_leads_to_a_denied_address_is_refused_and_the_package_not_blamed(
    found: list[str], field: str
) -> None:
    spec = a_spec(repositories=[{"url": "http://b.example/", field: "http://a.example/x"}])

    with pytest.raises(RepositoryUnreachable, match=r"a\.example/x resolves to an address") as refusal:
        check_hosts(spec, DEFAULT_RULES, stop=Stop(5), resolve=resolving(a_example=found, b_example=["10.0.0.1"]))

    assert not refusal.value.retryable


def test_a_name_that_leads_elsewhere_or_nowhere_is_left_to_the_machine() -> None:
    spec = a_spec(repositories=[{"url": "http://a.example/"}, {"url": "http://gone.example/"}])

    check_hosts(spec, DEFAULT_RULES, stop=Stop(5), resolve=resolving(a_example=["10.0.0.1", "8.8.8.8"]))


@pytest.mark.parametrize("host", ["a..b", "-", "a" * 70, "\udcff", ""])
def test_what_is_no_name_leads_nowhere(host: str) -> None:
    assert addresses_of(host) == ()


# at the worker, where a key is fetched


class _Site(BaseHTTPRequestHandler):
    """Answers with the request's Host header, or redirects to the address in the path."""

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.headers["Host"].encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@contextmanager
def site(address: str) -> Iterator[tuple[int, list[str]]]:
    """Yield a server's port, and the paths of its requests."""
    server = ThreadingHTTPServer((address, 0), _Site)
    server.asked = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.server_port, server.asked  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


# 127.0.0.2 stands for a public address, 127.0.0.1 for the one that must not be reached.
RULES = NetworkRules(DENIED, allowed=(ip_network("127.0.0.2/32"),))


def test_a_key_is_fetched_by_its_name_from_an_address_that_was_looked_at() -> None:
    with site("127.0.0.2") as (port, _):
        url = f"http://key.example:{port}/key"

        got = download(url, stop=Stop(5), rules=RULES, resolve=resolving(key_example=["127.0.0.2"]))

    assert got == f"key.example:{port}".encode()


def test_the_next_address_is_tried_where_the_first_does_not_answer() -> None:
    rules = NetworkRules(DENIED, allowed=(ip_network("127.0.0.2/31"),))
    with site("127.0.0.2") as (port, _):
        url = f"http://key.example:{port}/key"

        assert download(url, stop=Stop(5), rules=rules, resolve=resolving(key_example=["127.0.0.3", "127.0.0.2"]))


@pytest.mark.parametrize(
    "target", ["http://inner.example:{port}/secret", "http://127.0.0.1:{port}/secret", "http://0x7f.1:{port}/secret"]
)
def test_a_redirect_to_a_denied_address_is_not_followed(target: str) -> None:
    with site("127.0.0.1") as (inner, asked), site("127.0.0.2") as (port, _):
        url = f"http://key.example:{port}/to/{target.format(port=inner)}"
        names = resolving(key_example=["127.0.0.2"], inner_example=["127.0.0.1"])

        with pytest.raises(RepositoryUnreachable, match="resolves to an address") as refusal:
            download(url, stop=Stop(5), rules=RULES, resolve=names)

        assert asked == []
    assert not refusal.value.retryable


def test_a_name_that_changes_its_address_between_looking_and_connecting_gains_nothing() -> None:
    answers = iter([["127.0.0.2"], ["127.0.0.1"], ["127.0.0.1"]])

    def rebinding(_host: str) -> tuple[Address, ...]:
        return tuple(ip_address(text) for text in next(answers))

    with site("127.0.0.1") as (inner, asked):
        # Nobody listens at the checked address. A second look-up of the name would give the other one.
        with pytest.raises(RepositoryUnreachable, match="could not be fetched"):
            download(f"http://key.example:{inner}/key", stop=Stop(5), rules=RULES, resolve=rebinding)

        assert asked == []


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://key.example/x", "gopher://x/", "//", "http://"])
def test_a_redirect_to_something_else_than_the_web_is_not_followed(target: str) -> None:
    with site("127.0.0.2") as (port, _), pytest.raises(RepositoryUnreachable):
        download(
            f"http://key.example:{port}/to/{target}",
            stop=Stop(5),
            rules=RULES,
            resolve=resolving(key_example=["127.0.0.2"]),
        )


# a name server that does not answer


def checking(stop: Stop, resolve: Resolve) -> None:
    check_hosts(a_spec(repositories=[{"url": "http://a.example/"}]), RULES, stop=stop, resolve=resolve)


def fetching(stop: Stop, resolve: Resolve) -> None:
    download("http://a.example/key", stop=stop, rules=RULES, resolve=resolve)


Doing = Callable[[Stop, Resolve], None]
whoever_asks = pytest.mark.parametrize("doing", [checking, fetching])


@pytest.fixture
def silence() -> Iterator[Resolve]:
    over = threading.Event()

    def silent(_host: str) -> Sequence[Address]:
        over.wait(30)
        return ()

    yield silent
    over.set()


@whoever_asks
def test_a_cancel_does_not_wait_for_a_name_server(doing: Doing, silence: Resolve) -> None:
    stop = Stop(3600)
    threading.Timer(0.3, stop.request, [StopReason.CANCELLED]).start()
    began = time.monotonic()

    with pytest.raises(Stopped, match="cancelled"):
        doing(stop, silence)

    assert time.monotonic() - began < 5


@whoever_asks
def test_a_deadline_does_not_wait_for_a_name_server(doing: Doing, silence: Resolve) -> None:
    began = time.monotonic()

    with pytest.raises(Stopped, match="deadline"):
        doing(Stop(0.3), silence)

    assert time.monotonic() - began < 5


def test_a_download_has_a_limit_of_its_own_for_a_name_server(silence: Resolve) -> None:
    began = time.monotonic()

    with pytest.raises(RepositoryUnreachable, match="takes longer than") as refusal:
        download("http://a.example/key", stop=Stop(3600), rules=RULES, resolve=silence, time_limit=0.3)

    assert refusal.value.retryable
    assert time.monotonic() - began < 5


@whoever_asks
def test_nothing_is_looked_up_when_it_is_time_to_stop(doing: Doing) -> None:
    asked: list[str] = []

    def asking(host: str) -> Sequence[Address]:
        asked.append(host)
        return ()

    with pytest.raises(Stopped):
        doing(Stop(0), asking)

    assert asked == []


@whoever_asks
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_in_looking_up_is_not_taken_for_a_name_that_is_not_known(doing: Doing) -> None:
    def faulty(_host: str) -> Sequence[Address]:
        raise KeyError("a fault of ours")

    with pytest.raises(RuntimeError, match=r"looking up 'a\.example'"):
        doing(Stop(5), faulty)
