"""Requests that wait for the ledger at the same time share a transaction, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from alts.shared.errors import KeyReused, LedgerUnavailable
from scheduler.ledger.database import Database
from scheduler.ledger.group_commit import GroupCommit
from scheduler.ledger.history import entries_of
from scheduler.ledger.ledger import SqlLedger
from tests.support.builders import a_spec
from tests.support.scheduler_parts import QUEUE, HandClock, a_database, a_ledger
from tests.support.stack import until

SOON = 20.0
ME = "me@example.org"


class Store:
    """Stores words, and records the groups."""

    def __init__(self, database: Database, **settings: int) -> None:
        self.groups: list[list[str]] = []
        self.alone: list[str] = []
        self.commits = GroupCommit[str, str](database, self.store, self.store_alone, **settings)

    def store(self, db: Connection, words: Sequence[str]) -> Mapping[int, str]:
        self.groups.append(list(words))
        if "bad" in words:
            raise LedgerUnavailable("nobody can store that")
        return {position: word.upper() for position, word in enumerate(words) if word != "left out"}

    def store_alone(self, word: str) -> str:
        self.alone.append(word)
        if word == "bad":
            raise LedgerUnavailable("nobody can store that")
        return word.upper()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = a_database(f"sqlite:///{tmp_path}/ledger.sqlite")
    yield database
    database.close()


@pytest.fixture
def store(database: Database) -> Store:
    return Store(database)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqlLedger]:
    ledger = a_ledger(tmp_path, HandClock())
    yield ledger
    ledger.close()


@contextmanager
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as pool:
        yield pool


def together(store: Store, database: Database, words: Sequence[str]) -> list[Future[str]]:
    """Add the words while the ledger is busy, so that they meet in one group."""
    with threads() as pool:
        with database.writing():
            futures = []
            for number, word in enumerate(words, 1):
                futures.append(pool.submit(store.commits.add, word))
                until(lambda wanted=number: len(store.commits._waiting) == wanted, seconds=SOON)  # type: ignore[misc]
        return futures


def test_a_request_that_comes_alone_has_a_transaction_of_its_own(store: Store) -> None:
    assert [store.commits.add("one"), store.commits.add("two")] == ["ONE", "TWO"]
    assert store.groups == [["one"], ["two"]]


def test_requests_that_wait_are_written_together_in_their_order(store: Store, database: Database) -> None:
    words = [f"word {number}" for number in range(12)]

    futures = together(store, database, words)

    assert [future.result(SOON) for future in futures] == [word.upper() for word in words]
    assert store.groups == [words]
    assert store.alone == []


def test_one_bad_request_fails_alone(store: Store, database: Database) -> None:
    fine, bad, other = together(store, database, ["fine", "bad", "other"])

    assert (fine.result(SOON), other.result(SOON)) == ("FINE", "OTHER")
    with pytest.raises(LedgerUnavailable, match="nobody can store that"):
        bad.result(SOON)
    assert sorted(store.alone) == ["bad", "fine", "other"]


def test_what_a_group_leaves_out_is_stored_after_it(store: Store, database: Database) -> None:
    futures = together(store, database, ["first", "left out", "last"])

    assert [future.result(SOON) for future in futures] == ["FIRST", "LEFT OUT", "LAST"]
    assert store.alone == ["left out"]


def test_a_long_group_is_divided(database: Database) -> None:
    store = Store(database, most=4)
    words = [f"word {number}" for number in range(10)]

    futures = together(store, database, words)

    assert [future.result(SOON) for future in futures] == [word.upper() for word in words]
    assert [len(group) for group in store.groups] == [4, 4, 2]


def test_a_ledger_that_does_not_answer_gives_each_an_error_of_its_own(store: Store, database: Database) -> None:
    @contextmanager
    def refused() -> Iterator[Connection]:
        raise LedgerUnavailable("away")
        yield

    def alone(word: str) -> str:
        raise LedgerUnavailable(f"{word} is not stored")

    store.commits = GroupCommit[str, str](database, store.store, alone)
    database.writing = refused  # type: ignore[method-assign]
    words = [f"word {number}" for number in range(20)]

    with threads() as pool:
        futures = [pool.submit(store.commits.add, word) for word in words]
        errors = [str(future.exception(SOON)) for future in futures]

    assert errors == [f"{word} is not stored" for word in words]
    assert store.commits._waiting == []


def test_under_load_every_request_is_stored_once(ledger: SqlLedger) -> None:
    stored: list[str] = []
    lock = threading.Lock()

    def work() -> None:
        for _ in range(25):
            task_id = ledger.tasks.add(a_spec(), queue=QUEUE, submitted_by=ME)
            with lock:
                stored.append(task_id)

    with threads() as pool:
        for future in [pool.submit(work) for _ in range(12)]:
            future.result(60)

    assert len(set(stored)) == 300
    assert ledger.tasks.unfinished_of(ME) == 300
    assert len(ledger.outbox.due(limit=1000)) == 300
    with ledger.tasks._database.reading() as db:
        assert all(len(entries_of(db, task_id)) == 1 for task_id in stored[::30])


def added_together(ledger: SqlLedger, requests: Sequence[Mapping[str, Any]]) -> list[Future[str]]:
    """Add tasks while the ledger is busy."""
    additions = ledger.tasks._additions
    with threads() as pool:
        with ledger.tasks._database.writing():
            futures = []
            for number, request in enumerate(requests, 1):
                spec = a_spec(package_name=request["package"])
                futures.append(
                    pool.submit(ledger.tasks.add, spec, queue=QUEUE, submitted_by=ME, key=request.get("key"))
                )
                until(lambda wanted=number: len(additions._waiting) == wanted, seconds=SOON)  # type: ignore[misc]
        return futures


def test_a_request_that_is_repeated_within_a_group_is_one_task(ledger: SqlLedger) -> None:
    request = {"package": "hello", "key": "k"}

    first, again, other = added_together(ledger, [request, request, {"package": "hello"}])

    assert first.result(SOON) == again.result(SOON) != other.result(SOON)
    assert ledger.tasks.unfinished_of(ME) == 2


def test_a_key_of_an_earlier_group_is_known(ledger: SqlLedger) -> None:
    earlier = ledger.tasks.add(a_spec(), queue=QUEUE, submitted_by=ME, key="k")

    again, other = added_together(ledger, [{"package": "hello", "key": "k"}, {"package": "hello", "key": "other"}])

    assert again.result(SOON) == earlier != other.result(SOON)
    assert ledger.tasks.unfinished_of(ME) == 2


@pytest.mark.parametrize("known", [True, False], ids=["from an earlier group", "from this group"])
def test_a_key_that_came_with_another_request_is_refused_alone(ledger: SqlLedger, *, known: bool) -> None:
    request = {"package": "hello", "key": "k"}
    first = [] if known else [request]
    if known:
        ledger.tasks.add(a_spec(), queue=QUEUE, submitted_by=ME, key="k")

    *fine, refused, other = added_together(ledger, [*first, {"package": "jq", "key": "k"}, {"package": "jq"}])

    assert all(future.result(SOON) for future in (*fine, other))
    with pytest.raises(KeyReused):
        refused.result(SOON)
    assert ledger.tasks.unfinished_of(ME) == 2
