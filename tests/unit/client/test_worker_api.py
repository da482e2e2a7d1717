"""The worker API and its client: permissions, and names of failures.

tests/contract/test_ledger.py tests the calls' effects.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import SecretStr

from alts.client.worker_api import HttpLedger, worker_tokens
from alts.shared.auth.keys import TokenKeys
from alts.shared.auth.tokens import Scope, read_token
from alts.shared.errors import ConfigurationError, LedgerUnavailable, StaleAttempt
from alts.shared.models.report import Finding, Kind, Outcome, StageResult
from tests.support.builders import SECRET, TASK_ID, a_config, a_report, a_spec
from tests.support.scheduler_parts import QUEUE, HandClock, a_ledger, a_token, served, serving


@contextmanager
def client_of(url: str, **changes: Any) -> Iterator[HttpLedger]:
    ledger = HttpLedger(url, **{"token": lambda _now: a_token(Scope.WORKER), **changes})
    try:
        yield ledger
    finally:
        ledger.close()


@contextmanager
def answering(status: int, content: object) -> Iterator[HttpLedger]:
    """Return a client of a server that gives the same answer to every request."""
    app = FastAPI()

    @app.post("/{path:path}")
    def answer(path: str) -> Response:
        return PlainTextResponse(content, status) if isinstance(content, str) else JSONResponse(content, status)

    with serving(app) as url, client_of(url) as ledger:
        yield ledger


def test_a_workers_token_is_good_for_the_worker_api_and_nothing_else() -> None:
    token = worker_tokens(SecretStr(SECRET), algorithm="HS256", worker="worker-1")(datetime.now(UTC))

    caller = read_token(token, TokenKeys(a_config()))

    assert caller.email == "worker-1"
    assert caller.scopes == {Scope.WORKER}


@pytest.mark.parametrize(
    "token",
    [
        lambda _now: a_token(),
        lambda _now: a_token(Scope.WORKER, lifetime=timedelta(minutes=-1)),
        lambda _now: "nonsense",
    ],
    ids=["a caller's", "expired", "no token"],
)
def test_without_a_workers_token_nothing_is_claimed(tmp_path: Path, token: Any) -> None:
    sql = a_ledger(tmp_path, HandClock())
    task_id = sql.tasks.add(a_spec(), queue=QUEUE, submitted_by="")

    with served(tmp_path, sql) as url, client_of(url, token=token) as ledger:
        with pytest.raises(LedgerUnavailable, match="jwt_secret"):
            ledger.claim(task_id, worker="worker-1")

        assert sql.tasks.get(task_id).attempt == 0


def test_a_report_larger_than_any_callers_body_gets_through(tmp_path: Path) -> None:
    sql = a_ledger(tmp_path, HandClock())
    task_id = sql.tasks.add(a_spec(), queue=QUEUE, submitted_by="")
    finding = Finding(kind=Kind.MISSING_FILE, message="missing", evidence="/" + "x" * 1000)
    stages = (StageResult(stage="integrity", outcome=Outcome.FAILED, findings=(finding,) * 2000),)
    report = replace(a_report(task_id=task_id, outcome=Outcome.FAILED), stages=stages)

    with served(tmp_path, sql) as url, client_of(url) as ledger:
        ledger.claim(task_id, worker="worker-1")
        ledger.report(task_id, 1, report)

        assert sql.tasks.get(task_id).report == report


def test_nobody_at_the_address_is_unavailable() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with client_of(f"http://127.0.0.1:{bound.getsockname()[1]}") as ledger, pytest.raises(LedgerUnavailable):
            ledger.claim(TASK_ID, worker="worker-1")


def test_a_scheduler_that_does_not_answer_in_time_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with client_of(url, request_seconds=0.1) as ledger, pytest.raises(LedgerUnavailable) as trouble:
            ledger.heartbeat(TASK_ID, 1)

    assert trouble.value.retryable


@pytest.mark.parametrize("url", ["", "nonsense", "ftp://example.org", "http://", "http://example.org:port"])
def test_an_address_that_is_none_is_the_operators_problem(url: str) -> None:
    with pytest.raises(ConfigurationError, match="scheduler_url"):
        HttpLedger(url, token=lambda _now: "")


@pytest.mark.parametrize(
    ("status", "content", "retryable"),
    [
        (500, {"detail": "internal error"}, True),
        (503, {"detail": "the ledger is away"}, True),
        (502, "<html>bad gateway</html>", True),
        (404, {"detail": "Not Found"}, False),
        (422, {"detail": [{"loc": ["body"], "msg": "no"}]}, False),
        (200, "hello, this is something else", False),
        (200, {"assignment": {"nonsense": True}}, False),
        (200, [], False),
    ],
    ids=str,
)
def test_whatever_else_is_answered_is_unavailable_and_the_task_not_claimed(
    status: int, content: object, *, retryable: bool
) -> None:
    with answering(status, content) as ledger, pytest.raises(LedgerUnavailable) as trouble:
        ledger.claim(TASK_ID, worker="worker-1")

    assert trouble.value.retryable is retryable


def test_a_conflict_means_that_somebody_else_has_the_task() -> None:
    detail = {"detail": "attempt 1 no longer owns the task"}

    with answering(409, detail) as ledger, pytest.raises(StaleAttempt, match="attempt 1"):
        ledger.heartbeat(TASK_ID, 1)


@pytest.mark.parametrize("hours", [3, -3])
def test_a_worker_whose_clock_differs_makes_tokens_by_the_scheduler_s(tmp_path: Path, hours: int) -> None:
    sql = a_ledger(tmp_path, HandClock())
    task_id = sql.tasks.add(a_spec(), queue=QUEUE, submitted_by="")
    asked: list[datetime] = []
    issue = worker_tokens(SecretStr(SECRET), algorithm="HS256", worker="worker-1")

    def token(now: datetime) -> str:
        asked.append(now)
        return issue(now)

    def wrong() -> datetime:
        return datetime.now(UTC) + timedelta(hours=hours)

    with served(tmp_path, sql) as url, client_of(url, token=token, now=wrong) as ledger:
        assert ledger.claim(task_id, worker="worker-1") is not None
        ledger.heartbeat(task_id, 1)

    # The first request was refused and sent again. The second started with the right time.
    assert len(asked) == 3
    assert all(abs(now - datetime.now(UTC)) < timedelta(minutes=1) for now in asked[1:])


def test_a_token_that_is_refused_for_itself_is_not_sent_again(tmp_path: Path) -> None:
    asked: list[datetime] = []

    def token(now: datetime) -> str:
        asked.append(now)
        return "nonsense"

    sql = a_ledger(tmp_path, HandClock())
    with (
        served(tmp_path, sql) as url,
        client_of(url, token=token) as ledger,
        pytest.raises(LedgerUnavailable, match="jwt_secret"),
    ):
        ledger.announce("worker-1", ready=True)

    assert len(asked) == 1
