"""The peculiarities of our Celery worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from celery import Celery, signals
from celery.worker.consumer import Heart

from alts.worker.process import without_event_heartbeat


@pytest.fixture
def ours() -> Iterator[None]:
    signals.worker_init.connect(without_event_heartbeat)
    yield
    signals.worker_init.disconnect(without_event_heartbeat)


def heart(app: Celery) -> Heart:
    worker = app.WorkController(pool="solo")
    [step] = [step for step in worker.consumer.blueprint.steps.values() if isinstance(step, Heart)]
    return step


def test_celery_itself_sends_events_for_as_long_as_it_runs() -> None:
    assert heart(Celery("theirs", broker="memory://")).enabled


@pytest.mark.usefixtures("ours")
def test_ours_sends_none_for_which_it_would_wait_without_end() -> None:
    assert not heart(Celery("ours", broker="memory://")).enabled
