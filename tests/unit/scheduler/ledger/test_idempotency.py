"""Requests repeated with their Idempotency-Key."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import pytest

from alts.shared.errors import KeyReused
from scheduler.ledger.ledger import SqlLedger
from tests.support.builders import a_spec
from tests.support.scheduler_parts import QUEUE, HandClock, a_ledger

ME = "me@example.org"
DAY = 86_400.0


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def ledgers(database_url: str, clock: HandClock) -> Iterator[list[SqlLedger]]:
    """Several schedulers on one database."""
    with ExitStack() as undo:
        yield [undo.enter_context(closing(a_ledger(database_url, clock, idempotency_seconds=DAY))) for _ in range(3)]


def add(ledger: SqlLedger, *, key: str | None = "k1", caller: str = ME, package: str = "hello") -> str:
    return ledger.tasks.add(a_spec(package_name=package), queue=QUEUE, submitted_by=caller, key=key)


def test_the_same_request_with_the_same_key_is_one_task(ledgers: list[SqlLedger]) -> None:
    first, second, _ = ledgers

    task_id = add(first)

    assert add(second) == task_id
    assert first.tasks.unfinished_of(ME) == 1
    assert len(first.outbox.due(limit=10)) == 1


def test_another_request_with_the_same_key_is_refused(ledgers: list[SqlLedger]) -> None:
    add(ledgers[0])

    with pytest.raises(KeyReused):
        add(ledgers[1], package="jq")

    assert ledgers[0].tasks.unfinished_of(ME) == 1


def test_keys_of_other_callers_and_other_keys_are_other_ones(ledgers: list[SqlLedger]) -> None:
    ids = {add(ledgers[0]), add(ledgers[0], caller="you@example.org"), add(ledgers[0], key="k2")}

    assert len(ids) == 3


def test_without_a_key_every_request_is_a_task(ledgers: list[SqlLedger]) -> None:
    assert add(ledgers[0], key=None) != add(ledgers[0], key=None)


def test_a_key_is_forgotten_in_time(ledgers: list[SqlLedger], clock: HandClock) -> None:
    task_id = add(ledgers[0])
    # A key counts for half a day longer than promised, in case the clock has jumped ahead.
    clock.pass_by(DAY + 12 * 3600 + 1)

    later = add(ledgers[0], package="jq")

    assert later != task_id
    assert add(ledgers[1], package="jq") == later


def test_requests_at_once_on_several_schedulers_are_one_task(ledgers: list[SqlLedger]) -> None:
    with ThreadPoolExecutor(12) as pool:
        ids = set(pool.map(lambda number: add(ledgers[number % 3]), range(24)))

    assert len(ids) == 1
    assert ledgers[0].tasks.unfinished_of(ME) == 1
