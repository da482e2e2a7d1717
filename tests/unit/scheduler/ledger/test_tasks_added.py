"""Tasks that are added in one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from alts.shared.errors import KeyReused, LedgerUnavailable
from scheduler.ledger.history import entries_of
from scheduler.ledger.ledger import SqlLedger
from scheduler.ledger.tasks import NewTask
from tests.support.builders import a_spec
from tests.support.scheduler_parts import QUEUE, HandClock, a_ledger

ME = "me@example.org"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqlLedger]:
    ledger = a_ledger(tmp_path, HandClock())
    yield ledger
    ledger.close()


def new(package: str = "hello", *, key: str | None = None, queue: str = QUEUE) -> NewTask:
    return NewTask(a_spec(package_name=package), queue, ME, key)


def test_each_task_has_its_invitation_and_its_history(ledger: SqlLedger) -> None:
    ids = ledger.tasks.add_all([new() for _ in range(300)])

    assert len(set(ids)) == ledger.tasks.unfinished_of(ME) == 300
    assert [one.task_id for one in ledger.outbox.due(limit=1000)] == ids
    with ledger.tasks._database.reading() as db:
        assert all(len(entries_of(db, str(task_id))) == 1 for task_id in ids[::30])


def test_a_request_that_is_repeated_within_a_group_is_one_task(ledger: SqlLedger) -> None:
    first, again, other = ledger.tasks.add_all([new(key="k"), new(key="k"), new()])

    assert first == again != other
    assert ledger.tasks.unfinished_of(ME) == 2


def test_a_key_of_an_earlier_group_is_known(ledger: SqlLedger) -> None:
    earlier = ledger.tasks.add(a_spec(), queue=QUEUE, submitted_by=ME, key="k")

    again, other = ledger.tasks.add_all([new(key="k"), new(key="other")])

    assert again == earlier != other
    assert ledger.tasks.unfinished_of(ME) == 2


@pytest.mark.parametrize("known", [True, False], ids=["from an earlier group", "from this group"])
def test_a_key_that_came_with_another_request_is_refused_alone(ledger: SqlLedger, *, known: bool) -> None:
    if known:
        ledger.tasks.add(a_spec(), queue=QUEUE, submitted_by=ME, key="k")

    *fine, refused, other = ledger.tasks.add_all([*([] if known else [new(key="k")]), new("jq", key="k"), new("jq")])

    assert all(isinstance(one, str) for one in (*fine, other))
    assert isinstance(refused, KeyReused)
    assert ledger.tasks.unfinished_of(ME) == 2


def test_one_that_cannot_be_stored_fails_alone(ledger: SqlLedger) -> None:
    impossible: str = None  # type: ignore[assignment]

    fine, bad, other = ledger.tasks.add_all([new(), new(queue=impossible), new()])

    assert isinstance(fine, str)
    assert isinstance(other, str)
    assert isinstance(bad, SQLAlchemyError)
    assert ledger.tasks.unfinished_of(ME) == 2


def test_a_ledger_that_does_not_answer_is_asked_once(ledger: SqlLedger) -> None:
    asked = []

    def away() -> None:
        asked.append(1)
        raise LedgerUnavailable("away")

    ledger.tasks._database.writing = away  # type: ignore[method-assign, assignment]

    with pytest.raises(LedgerUnavailable):
        ledger.tasks.add_all([new(), new()])
    assert asked == [1]


def test_those_that_are_stored_learn_it_although_the_ledger_fails_for_the_others(
    ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, writing, begun = ledger.tasks._database, ledger.tasks._database.writing, []

    def failing_later() -> AbstractContextManager[Connection]:
        begun.append(1)
        # The group's own transaction fails because of `bad`; then each task has one, and the third is too late.
        if len(begun) > 3:
            raise LedgerUnavailable("away")
        return writing()

    monkeypatch.setattr(database, "writing", failing_later)
    impossible: str = None  # type: ignore[assignment]

    fine, bad, late = ledger.tasks.add_all([new(), new(queue=impossible), new()])

    assert isinstance(fine, str)
    assert isinstance(bad, SQLAlchemyError)
    assert isinstance(late, LedgerUnavailable)
    monkeypatch.undo()
    assert ledger.tasks.unfinished_of(ME) == 1
