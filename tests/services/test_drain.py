"""Draining a worker: it exits with 0 within its limit, and no task is lost or run twice.

The first test drains a worker whose machines Terraform and Ansible make. The others test the worker itself.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.services.test_full_stack import installing
from tests.support.deb_repository import serving_slow_package
from tests.support.rabbitmq import PrivateRabbitMQ
from tests.support.s3 import PrivateS3
from tests.support.stack import PLAIN, ServiceStack, schedule, until, wait_for

pytestmark = [pytest.mark.docker, pytest.mark.services]

NEVER = 600.0
# Celery handles both signals in one place.
BOTH = pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)], ids=lambda number: number.name
)


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Yield a request for a package that installs slowly. `installing` detects its script."""
    with serving_slow_package(tmp_path / "repository", seconds=8) as request:
        yield request


def test_what_is_not_done_in_time_is_handed_back_and_the_next_worker_has_it_at_once(
    tmp_path: Path, rabbitmq: PrivateRabbitMQ, s3: PrivateS3, slow: dict[str, Any]
) -> None:
    # The lease expires much later, so only a task that was handed back can be taken so soon.
    with (
        ServiceStack(
            tmp_path, rabbitmq, s3, forked=True, drain_timeout=0.5, lease_seconds=NEVER, max_attempts=1
        ) as stack,
        stack.client as client,
    ):
        with stack.worker("first") as first:
            task_id = schedule(client, **slow)
            until(lambda: installing(task_id), seconds=300)
            first.signal(signal.SIGTERM)
            assert first.exit_code(within=60) == 0, stack.log_of("first")
        with stack.worker("second"):
            result = wait_for(client, task_id)

    assert (result["outcome"], result["result"]["attempt"]) == ("passed", 2), result
    assert "Traceback" not in stack.log_of("first")


@BOTH
def test_what_runs_is_finished_and_nothing_more_is_begun(
    tmp_path: Path, rabbitmq: PrivateRabbitMQ, s3: PrivateS3, slow: dict[str, Any], number: signal.Signals
) -> None:
    with (
        ServiceStack(tmp_path, rabbitmq, s3, forked=True, drain_timeout=NEVER, lease_seconds=NEVER) as stack,
        stack.client as client,
    ):
        with stack.worker("first", app=PLAIN) as first:
            task_id = schedule(client, **slow)
            until(lambda: installing(task_id), seconds=300)
            first.signal(number)
            until(lambda: "no more tasks are taken" in stack.log_of("first"), seconds=20)
            late = schedule(client, package_name="no-such-package")
            assert first.exit_code(within=240) == 0, stack.log_of("first")
            result = client.get(f"/tasks/{task_id}/result").json()
            assert client.get(f"/tasks/{late}/result").json()["state"] in ("PENDING", "RETRY")
        with stack.worker("second", app=PLAIN):
            assert wait_for(client, late)["outcome"] == "failed"

    assert (result["outcome"], result["result"]["attempt"]) == ("passed", 1), result


@BOTH
def test_a_second_signal_hands_back_at_once(
    tmp_path: Path, rabbitmq: PrivateRabbitMQ, s3: PrivateS3, slow: dict[str, Any], number: signal.Signals
) -> None:
    with (
        ServiceStack(tmp_path, rabbitmq, s3, forked=True, drain_timeout=NEVER, lease_seconds=NEVER) as stack,
        stack.client as client,
        stack.worker("first", app=PLAIN) as first,
    ):
        task_id = schedule(client, **slow)
        until(lambda: installing(task_id), seconds=300)
        first.signal(number)
        until(lambda: "no more tasks are taken" in stack.log_of("first"), seconds=20)
        first.signal(number)
        assert first.exit_code(within=60) == 0, stack.log_of("first")
        task = client.get(f"/tasks/{task_id}").json()

    assert task["phase"] in ("accepted", "queued"), task


def test_a_worker_whose_broker_is_away_ends_as_well(tmp_path: Path, s3: PrivateS3) -> None:
    with (
        PrivateRabbitMQ() as own,
        ServiceStack(tmp_path, own, s3, forked=True) as stack,
        stack.worker("worker") as worker,
    ):
        own.kill()
        until(lambda: "Trying again" in stack.log_of("worker"), seconds=60)
        worker.signal(signal.SIGTERM)

        assert worker.exit_code(within=60) == 0, stack.log_of("worker")
