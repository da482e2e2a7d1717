"""Requests that come at the same time share a transaction, and nothing else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from alts.shared.errors import LedgerUnavailable
from scheduler.ledger.group_commit import GroupCommit

SOON = 20.0


class Store:
    """Stores words, and records the groups. The first group waits until it may go on."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.begun = threading.Event()
        self.may_go_on = threading.Event()

    def write(self, words: Sequence[str]) -> list[str | Exception]:
        self.groups.append(list(words))
        self.begun.set()
        assert self.may_go_on.wait(SOON)
        if "away" in words:
            raise LedgerUnavailable("the ledger is away")
        return [LedgerUnavailable(f"{word} is not stored") if word == "bad" else word.upper() for word in words]


@pytest.fixture
def store() -> Store:
    return Store()


def together(store: Store, words: Sequence[str], *, most: int = 200) -> list[str | BaseException]:
    """Add a word, and further words while it is being written."""

    async def work() -> list[str | BaseException]:
        commits = GroupCommit[str, str](store.write, most=most)
        first = asyncio.create_task(commits.add("first"))
        await asyncio.to_thread(store.begun.wait, SOON)
        others = [asyncio.create_task(commits.add(word)) for word in words]
        await asyncio.sleep(0)
        store.may_go_on.set()
        return await asyncio.gather(first, *others, return_exceptions=True)

    return run(work)


def run(work: Callable[[], Coroutine[Any, Any, list[str | BaseException]]]) -> list[str | BaseException]:
    return asyncio.run(asyncio.wait_for(work(), SOON))


def test_a_request_that_comes_alone_is_a_group_of_its_own(store: Store) -> None:
    store.may_go_on.set()

    async def work() -> list[str | BaseException]:
        commits = GroupCommit[str, str](store.write)
        return [await commits.add("one"), await commits.add("two")]

    assert run(work) == ["ONE", "TWO"]
    assert store.groups == [["one"], ["two"]]


def test_requests_that_come_meanwhile_are_the_next_group_in_their_order(store: Store) -> None:
    words = [f"word {number}" for number in range(12)]

    assert together(store, words) == ["FIRST", *(word.upper() for word in words)]
    assert store.groups == [["first"], words]


def test_a_request_has_its_own_error(store: Store) -> None:
    first, fine, bad, other = together(store, ["fine", "bad", "other"])

    assert [first, fine, other] == ["FIRST", "FINE", "OTHER"]
    assert isinstance(bad, LedgerUnavailable)
    assert str(bad) == "bad is not stored"


def test_what_fails_a_group_fails_all_of_it_and_no_other(store: Store) -> None:
    first, *others = together(store, ["fine", "away", "other", "next"], most=3)

    assert first == "FIRST"
    assert [str(other) for other in others] == ["the ledger is away"] * 3 + ["NEXT"]


def test_a_long_group_is_divided(store: Store) -> None:
    words = [f"word {number}" for number in range(10)]

    together(store, words, most=4)

    assert [len(group) for group in store.groups] == [1, 4, 4, 2]


def test_a_request_whose_caller_is_gone_is_written_and_holds_up_nobody(store: Store) -> None:
    async def work() -> list[str | BaseException]:
        commits = GroupCommit[str, str](store.write)
        gone = asyncio.create_task(commits.add("gone"))
        await asyncio.to_thread(store.begun.wait, SOON)
        waits = asyncio.create_task(commits.add("waits"))
        gone.cancel()
        store.may_go_on.set()
        return list(await asyncio.gather(gone, waits, return_exceptions=True))

    gone, waits = run(work)

    assert isinstance(gone, asyncio.CancelledError)
    assert waits == "WAITS"
    assert store.groups == [["gone"], ["waits"]]
