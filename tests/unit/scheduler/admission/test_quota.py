"""A caller's share of the queue."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from alts.shared.auth.tokens import Scope
from alts.shared.errors import LedgerUnavailable, TooManyRequests
from scheduler.admission import quota as quota_module
from scheduler.admission.quota import FRESH_SECONDS, Quota
from scheduler.api.application import create_app
from tests.support.builders import a_report, a_spec
from tests.support.scheduler_parts import HandClock, a_ledger, bearer, some_services

ME = "me@example.org"


class Counter:
    """A ledger's count, and the number of queries."""

    def __init__(self, unfinished: int = 0) -> None:
        self.unfinished = unfinished
        self.asked = 0

    def __call__(self, _caller: str) -> int:
        self.asked += 1
        return self.unfinished


def take(quota: Quota, caller: str = ME) -> None:
    with quota.one_more(caller):
        pass


def test_what_was_accepted_since_the_count_counts_too() -> None:
    counter, clock = Counter(7), HandClock()
    quota = Quota(10, counter, clock=clock)

    for _ in range(3):
        take(quota)

    assert counter.asked == 1
    counter.unfinished = 10
    with pytest.raises(TooManyRequests, match="10 unfinished tasks"):
        take(quota)


def test_nobody_is_refused_by_an_old_count() -> None:
    counter = Counter(9)
    quota = Quota(10, counter, clock=HandClock())
    take(quota)

    counter.unfinished = 3

    take(quota)


def test_an_old_count_is_made_anew() -> None:
    counter, clock = Counter(0), HandClock()
    quota = Quota(10, counter, clock=clock)
    take(quota)
    counter.unfinished = 10

    clock.pass_by(FRESH_SECONDS + 1)

    with pytest.raises(TooManyRequests):
        take(quota)


def test_what_is_on_its_way_to_the_ledger_is_not_forgotten_by_a_count() -> None:
    counter = Counter(0)
    quota = Quota(2, counter, clock=HandClock())

    with quota.one_more(ME), quota.one_more(ME), pytest.raises(TooManyRequests):
        take(quota)

    take(quota)


def test_no_limit_never_asks_the_ledger() -> None:
    counter = Counter(10**9)

    take(Quota(0, counter))

    assert counter.asked == 0


def test_a_ledger_that_is_away_lets_nobody_past() -> None:
    def away(_caller: str) -> int:
        raise LedgerUnavailable("no answer")

    with pytest.raises(LedgerUnavailable):
        take(Quota(10, away))


def test_a_million_callers_do_not_fill_the_memory() -> None:
    quota = Quota(10, Counter())

    for number in range(quota_module.MOST_REMEMBERED + 10):
        take(quota, str(number))

    assert len(quota._counts) <= quota_module.MOST_REMEMBERED


def post(client: TestClient, *scopes: Scope, **token: Any) -> Any:
    return client.post("/tasks/schedule", json=a_spec().model_dump(mode="json"), headers=bearer(*scopes, **token))


def test_many_at_once_get_exactly_as_many_tasks_as_they_may(tmp_path: Path) -> None:
    ledger = a_ledger(tmp_path, HandClock())
    answers: list[Any] = []
    with TestClient(create_app(some_services(tmp_path, ledger, caller_unfinished_tasks=5))) as client:
        threads = [threading.Thread(target=lambda: answers.append(post(client))) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert ledger.tasks.unfinished_of(ME) == 5
        assert post(client, email="you@example.org").status_code == 201
        assert post(client, Scope.ADMIN).status_code == 201
    assert sorted(answer.status_code for answer in answers) == [201] * 5 + [429] * 15
    assert {answer.headers.get("Retry-After") for answer in answers} == {None, "30"}


def test_an_ended_task_makes_room(tmp_path: Path) -> None:
    ledger = a_ledger(tmp_path, HandClock())
    client = TestClient(create_app(some_services(tmp_path, ledger, caller_unfinished_tasks=1)))
    task_id = post(client).json()["task_id"]
    assert post(client).status_code == 429

    ledger.attempts.claim(task_id, worker="worker-1")
    assert post(client).status_code == 429
    ledger.attempts.report(task_id, 1, a_report(task_id=task_id))

    assert post(client).status_code == 201


def test_a_request_that_cannot_be_served_uses_up_nothing(tmp_path: Path) -> None:
    ledger = a_ledger(tmp_path, HandClock())
    client = TestClient(create_app(some_services(tmp_path, ledger, caller_unfinished_tasks=1)))
    body = a_spec(repositories=[{"url": "http://127.0.0.1/"}]).model_dump(mode="json")

    for _ in range(3):
        assert client.post("/tasks/schedule", json=body, headers=bearer()).status_code == 422

    assert post(client).status_code == 201
