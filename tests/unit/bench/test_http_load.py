"""The clients of a load."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import func, select

from bench.http_load import get_results, post_tasks
from scheduler.api.application import create_app
from scheduler.ledger.ledger import SqlLedger
from scheduler.ledger.tables import tasks
from tests.support.builders import a_spec
from tests.support.scheduler_parts import QUEUE, HandClock, a_ledger, serving, some_services


@contextmanager
def a_port(folder: Path, ledger: SqlLedger) -> Iterator[int]:
    """Serve a scheduler without limits and yield its port."""
    with serving(create_app(some_services(folder, ledger, caller_requests_per_minute=0))) as url:
        yield int(url.rpartition(":")[2])


def test_as_many_tasks_are_scheduled_as_are_wanted(tmp_path: Path) -> None:
    ledger = a_ledger(tmp_path, HandClock())
    with a_port(tmp_path, ledger) as port:
        load = post_tasks(port, clients=3, count=20)
        with ledger.tasks._database.reading() as db:
            stored = db.execute(select(func.count()).select_from(tasks)).scalar_one()

    assert stored == 20
    assert load.a_second > 0
    assert 0 < load.p50 <= load.p99


def test_results_are_polled_for_some_time_and_another_answer_is_an_error(tmp_path: Path) -> None:
    ledger = a_ledger(tmp_path, HandClock())
    task_id = ledger.tasks.add(a_spec(), queue=QUEUE, submitted_by="me@example.org")
    with a_port(tmp_path, ledger) as port:
        assert get_results(port, task_id, clients=2, seconds=0.3).a_second > 0
        with pytest.raises(RuntimeError, match="404"):
            get_results(port, "no-such-task", clients=1, seconds=0.3)
