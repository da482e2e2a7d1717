"""Requests that come at the same time: each is accepted or refused on its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from alts.shared.auth.tokens import Caller, Scope
from alts.shared.errors import KeyReused, LedgerFull, RepositoryDenied, TooManyRequests
from scheduler.admission.intake import Intake, Request
from scheduler.admission.quota import Quota
from scheduler.ledger.disk_space import Room
from scheduler.ledger.ledger import SqlLedger
from tests.support.builders import a_config, a_spec
from tests.support.scheduler_parts import HandClock, a_ledger

ME = Caller("me@example.org", frozenset({Scope.WRITE}))
YOU = Caller("you@example.org", frozenset({Scope.WRITE}))
ADMIN = Caller("admin@example.org", frozenset({Scope.ADMIN}))
FULL = Room(Path("/"), free=lambda _folder: 0)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqlLedger]:
    ledger = a_ledger(tmp_path, HandClock())
    yield ledger
    ledger.close()


def an_intake(ledger: SqlLedger, *, most: int = 100, room: Room | None = None) -> Intake:
    config = a_config()
    return Intake(
        ledger.tasks,
        runners=config.runners,
        networks=config.repository_networks,
        quota=Quota(most, ledger.tasks.unfinished_of),
        room=room or Room(None),
    )


def a_request(caller: Caller = ME, *, key: str | None = None, package: str = "hello", url: str = "") -> Request:
    repositories = [{"url": url}] if url else []
    return Request(a_spec(package_name=package, repositories=repositories), caller, key)


def test_those_that_are_refused_keep_no_other_from_being_accepted(ledger: SqlLedger) -> None:
    intake = an_intake(ledger)
    [earlier] = intake.accept_all([a_request(key="k")])

    requests = [a_request(), a_request(url="http://127.0.0.1/"), a_request(key="k"), a_request(package="jq", key="k")]
    accepted, denied, known, reused = intake.accept_all(requests)

    assert isinstance(accepted, str)
    assert isinstance(denied, RepositoryDenied)
    assert known == earlier != accepted
    assert isinstance(reused, KeyReused)
    assert ledger.tasks.unfinished_of(ME.email) == 2


def test_a_group_gets_exactly_as_many_tasks_as_its_callers_may_have(ledger: SqlLedger) -> None:
    requests = [a_request(caller) for caller in (ME, YOU, ADMIN) for _ in range(5)]

    outcomes = an_intake(ledger, most=3).accept_all(requests)

    mine, yours, admins = outcomes[:5], outcomes[5:10], outcomes[10:]
    for some in (mine, yours):
        assert [isinstance(one, TooManyRequests) for one in some] == [False] * 3 + [True] * 2
    assert all(isinstance(one, str) for one in admins)


def test_a_repeated_request_is_answered_while_the_disk_is_full(ledger: SqlLedger) -> None:
    [earlier] = an_intake(ledger).accept_all([a_request(key="k")])

    assert an_intake(ledger, room=FULL).accept_all([a_request(key="k")]) == [earlier]
    [refused] = an_intake(ledger, room=FULL).accept_all([a_request()])
    assert isinstance(refused, LedgerFull)
