"""Permissions: every route of the API with every kind of token."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from alts.shared.auth.tokens import Scope
from scheduler.api.application import create_app
from scheduler.ledger.ledger import SqlLedger
from tests.support.builders import TASK_ID, a_spec
from tests.support.scheduler_parts import QUEUE, HandClock, a_ledger, bearer, some_services

READ, WRITE, WORKER = Scope.READ, Scope.WRITE, Scope.WORKER

NEEDED = {
    ("post", "/tasks/schedule"): WRITE,
    ("get", "/tasks/{task_id}"): READ,
    ("get", "/tasks/{task_id}/result"): READ,
    ("get", "/tasks/{task_id}/history"): READ,
    ("get", "/tasks/{task_id}/artifacts/{attempt}/{name}"): READ,
    ("post", "/tasks/{task_id}/cancel"): WRITE,
    ("post", "/tasks/cancel"): WRITE,
    ("post", "/worker/tasks/{task_id}/claim"): WORKER,
    ("post", "/worker/tasks/{task_id}/attempts/{attempt}/heartbeat"): WORKER,
    ("post", "/worker/tasks/{task_id}/attempts/{attempt}/report"): WORKER,
    ("post", "/worker/tasks/{task_id}/attempts/{attempt}/release"): WORKER,
    ("post", "/worker/tasks/{task_id}/decline"): WORKER,
    ("post", "/worker/presence"): WORKER,
    ("post", "/worker/attempts/over"): WORKER,
    ("get", "/health"): None,
}
"""The scopes of every route. A route without a line here fails the tests."""

ALLOWED = {READ: {READ, Scope.ADMIN}, WRITE: {WRITE, Scope.ADMIN}, WORKER: {WORKER}}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("scopes")
    services = some_services(folder, a_ledger(folder, HandClock()))
    with TestClient(create_app(services), raise_server_exceptions=False) as client:
        yield client


def ask(client: TestClient, method: str, route: str, headers: dict[str, str]) -> Any:
    path = route.format(task_id=TASK_ID, attempt=1, name="install.log")
    return client.request(method, path, headers=headers, json={} if method == "post" else None)


def test_every_route_says_who_may_use_it(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]

    assert {(method, path) for path, methods in paths.items() for method in methods} == set(NEEDED)


@pytest.mark.parametrize("route", NEEDED, ids=" ".join)
def test_a_route_is_open_to_its_scope_and_to_no_other(client: TestClient, route: tuple[str, str]) -> None:
    needed = NEEDED[route]
    for scope in Scope:
        status = ask(client, *route, bearer(scope)).status_code
        if needed is None or scope in ALLOWED[needed]:
            assert status not in (401, 403), scope
        else:
            assert status == 403, scope
    if needed is not None:
        everything_else = [scope for scope in Scope if scope not in ALLOWED[needed]]
        assert ask(client, *route, bearer(*everything_else)).status_code == 403


@pytest.mark.parametrize("route", [route for route, needed in NEEDED.items() if needed is not None], ids=" ".join)
def test_without_a_good_token_a_route_is_closed(client: TestClient, route: tuple[str, str]) -> None:
    expired = bearer(*Scope, lifetime=timedelta(minutes=-1))
    for headers in ({}, {"Authorization": "Bearer a.b.c"}, {"Authorization": "Basic YTpi"}, expired):
        assert ask(client, *route, headers).status_code == 401


def test_a_path_that_nobody_has_thought_of_is_closed_to_strangers(client: TestClient) -> None:
    for path in ("/", "/tasks/x/y/z", "/metrics", "/worker/", "/docs/x", "/health/", "//health", "/HEALTH"):
        assert client.get(path).status_code == 401, path
        assert client.get(path, headers=bearer(), follow_redirects=False).status_code != 401, path


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_what_is_open_is_open_for_reading_alone(client: TestClient, method: str) -> None:
    for path in ("/health", "/docs", "/openapi.json"):
        assert client.request(method, path, content=b"x" * 1000).status_code == 401
        assert client.request(method, path, headers=bearer()).status_code == 405


# the owner of a task


@pytest.fixture
def ledger(tmp_path: Path) -> SqlLedger:
    return a_ledger(tmp_path, HandClock())


@pytest.fixture
def own_client(tmp_path: Path, ledger: SqlLedger) -> Iterator[TestClient]:
    with TestClient(create_app(some_services(tmp_path, ledger)), raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize(
    ("email", "scopes", "status"),
    [
        ("me@example.org", (WRITE,), 200),
        ("you@example.org", (WRITE,), 403),
        ("ME@example.org", (WRITE,), 403),
        ("you@example.org", (Scope.ADMIN,), 200),
    ],
    ids=["the same caller", "another", "another in capitals", "an admin"],
)
def test_a_task_is_cancelled_by_its_caller_or_an_admin(
    own_client: TestClient, ledger: SqlLedger, email: str, scopes: tuple[Scope, ...], status: int
) -> None:
    task_id = ledger.tasks.add(a_spec(), queue=QUEUE, submitted_by="me@example.org")

    answer = own_client.post(f"/tasks/{task_id}/cancel", headers=bearer(*scopes, email=email))

    assert answer.status_code == status
    assert (ledger.tasks.get(task_id).outcome is not None) is (status == 200)
    if status == 403:
        assert "me@example.org" in answer.json()["detail"]


def test_everybody_who_may_read_sees_who_asked(own_client: TestClient, ledger: SqlLedger) -> None:
    task_id = ledger.tasks.add(a_spec(), queue=QUEUE, submitted_by="me@example.org")

    for path in (f"/tasks/{task_id}", f"/tasks/{task_id}/result"):
        answer = own_client.get(path, headers=bearer(READ, email="you@example.org"))
        assert answer.json()["submitted_by"] == "me@example.org"
