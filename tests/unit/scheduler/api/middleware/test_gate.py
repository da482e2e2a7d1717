"""The gate: requests that are refused before they are read, and their cost."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Message

from alts.shared.auth.tokens import Caller, Scope
from alts.shared.errors import TooManyRequests
from scheduler.admission.rate_limit import RateLimit
from scheduler.api.application import create_app
from scheduler.api.middleware.body_limit import CALLER_LIMIT, WORKER_LIMIT, BodyLimit
from tests.support.builders import TASK_ID
from tests.support.scheduler_parts import HandClock, a_ledger, bearer, serving, some_services

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def app(tmp_path: Path) -> Any:
    return create_app(some_services(tmp_path, a_ledger(tmp_path, HandClock())))


def limited(tmp_path: Path, per_minute: int) -> Any:
    ledger = a_ledger(tmp_path, HandClock())
    return create_app(some_services(tmp_path, ledger, caller_requests_per_minute=per_minute))


def ask(app: Any, method: str, path: str, **request: Any) -> httpx.Response:
    async def once() -> httpx.Response:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://alts") as client:
            return await client.request(method, path, **request)

    return asyncio.run(once())


class Unread:
    """A body that records how much of it was read."""

    def __init__(self, pieces: int) -> None:
        self.pieces = pieces
        self.taken = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self.pieces):
            self.taken += 1
            yield b" " * 65_536


@pytest.mark.parametrize("path", ["/tasks/schedule", f"/worker/tasks/{TASK_ID}/claim", "/nothing", "/health"])
@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer a.b.c"}, {"Authorization": "Basic YTpi"}], ids=["none", "forged", "basic"]
)
def test_of_a_strangers_body_nothing_is_read(app: Any, path: str, headers: dict[str, str]) -> None:
    body = Unread(pieces=300)

    answer = ask(app, "POST", path, content=body, headers={**headers, **JSON})

    assert answer.status_code == 401
    assert answer.headers["connection"] == "close"
    assert body.taken == 0


@pytest.mark.parametrize("scope", [Scope.READ, Scope.WRITE, Scope.ADMIN])
def test_a_callers_token_gets_no_large_body_in_by_the_workers_door(app: Any, scope: Scope) -> None:
    body = Unread(pieces=300)

    answer = ask(app, "POST", f"/worker/tasks/{TASK_ID}/claim", content=body, headers={**bearer(scope), **JSON})

    assert answer.status_code == 403
    assert body.taken == 0


@pytest.mark.parametrize(("scope", "path"), [(Scope.WRITE, "/tasks/schedule"), (Scope.WORKER, "/worker/tasks/x/claim")])
def test_a_chunked_body_is_read_to_the_limit_and_no_further(app: Any, scope: Scope, path: str) -> None:
    limit = (WORKER_LIMIT if scope is Scope.WORKER else CALLER_LIMIT) // 65_536
    body = Unread(pieces=limit + 300)

    answer = ask(app, "POST", path, content=body, headers={**bearer(scope), **JSON})

    assert answer.status_code == 413
    assert body.taken == limit + 1


def test_an_announced_body_that_is_too_large_is_not_read(app: Any) -> None:
    body = Unread(pieces=1)
    headers = {**bearer(), **JSON, "Content-Length": str(10**30)}

    assert ask(app, "POST", "/tasks/schedule", content=body, headers=headers).status_code == 413
    assert body.taken == 0


def test_a_body_that_comes_too_slowly_is_given_up() -> None:
    sent: list[Message] = []

    async def never(_scope: Any, _receive: Any, _send: Any) -> None:
        raise AssertionError("the application must not see it")

    async def drip() -> Message:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b" ", "more_body": True}

    async def send(message: Message) -> None:
        sent.append(message)

    caller = Caller(email="me@example.org", scopes=frozenset({Scope.WRITE}))
    scope = {"type": "http", "method": "POST", "path": "/tasks/schedule", "headers": [], "state": {"caller": caller}}
    asyncio.run(BodyLimit(never, rate_limit=RateLimit(0), seconds=0.1)(scope, drip, send))

    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/tasks/" + "a" * 3000, {}, 414),
        ("/health?" + "a" * 3000, {}, 414),
        ("/health", {f"X-{number}": "a" for number in range(150)}, 431),
        ("/health", {"X-Long": "a" * 40_000}, 431),
    ],
    ids=["path", "query", "many headers", "a long one"],
)
def test_paths_and_headers_have_an_end(app: Any, path: str, headers: dict[str, str], status: int) -> None:
    assert ask(app, "GET", path, headers={**bearer(), **headers}).status_code == status


def test_two_tokens_are_none(app: Any) -> None:
    token = bearer()["Authorization"].encode()
    headers = [(b"authorization", token), (b"authorization", token)]

    assert ask(app, "GET", f"/tasks/{TASK_ID}", headers=headers).status_code == 401


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"dist_name": "debian", "dist_name": "debian"}', "twice"),
        (b'{"a": {"b": 1, "b": 2}}', "twice"),
        (b'{"dist_version": NaN}', "NaN"),
        (b'{"dist_version": -Infinity}', "Infinity"),
        (b'{"dist_version": 1e999}', "too large"),
        (b'{"dist_version": ' + b"9" * 5000 + b"}", "digits"),
        (b'{"dist_name": "\\ud800"}', "surrogate"),
        (b'{"\\uDFFF": 1}', "surrogate"),
        (b"\xff", "UTF-8"),
        ('{"dist_name": "debian"}'.encode("utf-16"), "UTF-8"),
        (b"[" * 1500, "deep"),
        (b'{"a":' * 1500, "deep"),
        (b"[" * 100_000, "more than 2048 values"),
        (b"[" + b"1," * 3000 + b"1]", "more than 2048 values"),
        (b"{" + b",".join(b'"%d":1' % number for number in range(60)) + b"}", "more than 50 keys"),
        (b"{", "property name"),
        (b"", "required"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_json_that_does_not_mean_one_thing_is_refused_with_the_reason(app: Any, body: bytes, why: str) -> None:
    answer = ask(app, "POST", "/tasks/schedule", content=body, headers={**bearer(), **JSON})

    assert answer.status_code == 422
    assert why in answer.json()["detail"][0]["msg"].replace("Field required", "required")


def test_a_pair_of_surrogates_is_a_letter(app: Any) -> None:
    answer = ask(app, "POST", "/tasks/schedule", content=b'{"\\ud83d\\udc27": 1}', headers={**bearer(), **JSON})

    assert "\N{PENGUIN}" in {part for entry in answer.json()["detail"] for part in entry["loc"]}


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/xml", "", "/", "\xe4"],
)
def test_only_json_is_taken_for_json(app: Any, kind: str) -> None:
    headers = [(b"content-type", kind.encode("latin-1")), (b"authorization", bearer()["Authorization"].encode())]

    answer = ask(app, "POST", "/tasks/schedule", content=b'{"dist_name": "debian"}', headers=headers)

    assert answer.status_code == 422


# rate


def test_who_asks_too_often_is_told_when_to_come_back_and_nobody_else_is(tmp_path: Path) -> None:
    app = limited(tmp_path, 5)

    answers = [ask(app, "GET", f"/tasks/{TASK_ID}", headers=bearer()) for _ in range(8)]

    assert [answer.status_code for answer in answers] == [404] * 5 + [429] * 3
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
    assert ask(app, "GET", f"/tasks/{TASK_ID}", headers=bearer(email="you@example.org")).status_code == 404


@pytest.mark.parametrize(
    ("scope", "method", "path"),
    [(Scope.ADMIN, "GET", f"/tasks/{TASK_ID}"), (Scope.WORKER, "POST", f"/worker/tasks/{TASK_ID}/claim")],
)
def test_admins_and_workers_are_not_counted(tmp_path: Path, scope: Scope, method: str, path: str) -> None:
    app = limited(tmp_path, 1)

    statuses = {ask(app, method, path, headers=bearer(scope), json={"worker": "w"}).status_code for _ in range(5)}

    assert statuses <= {200, 404}


def test_forged_tokens_do_not_use_up_anybodys_share(tmp_path: Path) -> None:
    app = limited(tmp_path, 2)

    for _ in range(5):
        assert ask(app, "GET", f"/tasks/{TASK_ID}", headers={"Authorization": "Bearer a.b.c"}).status_code == 401

    assert ask(app, "GET", f"/tasks/{TASK_ID}", headers=bearer()).status_code == 404


def test_no_limit_is_none() -> None:
    limit = RateLimit(0)

    for _ in range(1000):
        limit.check("me@example.org")


def test_a_list_to_cancel_counts_as_many_requests_as_it_has_ids(tmp_path: Path) -> None:
    app = limited(tmp_path, 5)

    for _ in range(2):
        assert cancel(app, 2).status_code == 200

    assert ask(app, "GET", f"/tasks/{TASK_ID}", headers=bearer()).status_code == 404
    assert ask(app, "GET", f"/tasks/{TASK_ID}", headers=bearer()).status_code == 429


def test_a_list_longer_than_the_limit_is_cancelled_and_has_to_be_waited_for(tmp_path: Path) -> None:
    app = limited(tmp_path, 60)

    answers = [cancel(app, 100), cancel(app, 1), cancel(app, 1, email="you@example.org")]

    assert [answer.status_code for answer in answers] == [200, 429, 200]
    assert 60 <= int(answers[1].headers["Retry-After"]) <= 100


def test_an_admins_list_is_not_counted(tmp_path: Path) -> None:
    app = limited(tmp_path, 5)

    assert {cancel(app, 100, Scope.ADMIN).status_code for _ in range(3)} == {200}


def cancel(app: Any, count: int, *scopes: Scope, **token: Any) -> httpx.Response:
    return ask(app, "POST", "/tasks/cancel", headers=bearer(*scopes, **token), json={"task_ids": [TASK_ID] * count})


def test_debts_add_up_and_are_paid_off_at_the_limits_pace() -> None:
    clock = HandClock()
    limit = RateLimit(60, clock=clock)

    limit.charge("me@example.org", 90)
    limit.charge("me@example.org", 90)

    clock.pass_by(179)
    with pytest.raises(TooManyRequests) as refused:
        limit.check("me@example.org")
    assert refused.value.retry_after == 1
    limit.check("you@example.org")
    clock.pass_by(1)
    limit.check("me@example.org")


# over a real connection


@pytest.fixture
def address(app: Any) -> Iterator[tuple[str, int]]:
    with serving(app) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        yield host, int(port)


@pytest.mark.parametrize(
    "request_text",
    [
        b"POST /tasks/schedule HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n",
        b"POST /tasks/schedule HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n",
        b"POST /worker/tasks/x/claim HTTP/1.1\r\nHost: a\r\nContent-Length: 16000000\r\n\r\n{",
    ],
    ids=["announced", "chunked", "worker"],
)
def test_a_stranger_is_answered_before_the_body_and_the_connection_is_closed(
    address: tuple[str, int], request_text: bytes
) -> None:
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(request_text)
        answer = b""
        while piece := connection.recv(65_536):
            answer += piece

    assert answer.startswith(b"HTTP/1.1 401 ")


@pytest.mark.slow
@pytest.mark.parametrize(
    "request_text",
    [
        b"GET /health HTTP/1.1\r\nHost: a\r\n" + b"X: " + b"a" * 200_000 + b"\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X-%d: a\r\n" % n for n in range(5000)) + b"\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"GET /health HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        b"POST /tasks/schedule HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
        b"POST /tasks/schedule HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
    ],
    ids=["long header", "many headers", "long path", "TLS", "smuggled", "negative", "two lengths"],
)
def test_what_is_no_request_ends_the_connection_and_not_the_server(
    address: tuple[str, int], request_text: bytes
) -> None:
    with socket.create_connection(address, timeout=20) as connection:
        try:
            connection.sendall(request_text)
            first = connection.recv(65_536)
        except ConnectionError:
            first = b""

    assert b" 500 " not in first
    assert httpx.get(f"http://{address[0]}:{address[1]}/health", timeout=20).status_code == 200


def test_a_flood_of_forged_tokens_leaves_no_log(app: Any, caplog: pytest.LogCaptureFixture) -> None:
    forged = {"Authorization": bearer()["Authorization"][:-4] + "AAAA"}

    async def flood() -> set[int]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://alts") as client:
            return {(await client.get(f"/tasks/{TASK_ID}", headers=forged)).status_code for _ in range(200)}

    assert asyncio.run(flood()) == {401}
    assert not [record for record in caplog.records if record.name.startswith(("scheduler", "alts"))]
