"""A worker that wakes after its lease has expired harms no other attempt's report or machine."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.services.test_full_stack import s3_objects
from tests.support.deb_repository import serving_slow_package
from tests.support.leftovers import machines_of
from tests.support.rabbitmq import PrivateRabbitMQ
from tests.support.s3 import PrivateS3
from tests.support.stack import ServiceStack, schedule, until, wait_for

pytestmark = [pytest.mark.docker, pytest.mark.services]


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield a request for a package that installs slowly enough to freeze its worker."""
    with serving_slow_package(tmp_path / "repository", seconds=15) as request:
        yield request


def test_it_destroys_its_own_machine_alone_and_its_successors_report_stays(
    tmp_path: Path, rabbitmq: PrivateRabbitMQ, s3: PrivateS3, slow: Mapping[str, Any]
) -> None:
    with (
        # The frozen worker holds every second invitation, so invitations are resent after a short delay.
        ServiceStack(tmp_path, rabbitmq, s3, forked=True, resend_after=2.0) as stack,
        stack.client as client,
        stack.worker("first") as first,
    ):
        task_id = schedule(client, **slow)
        [own] = until(lambda: machines_of(tmp_path), seconds=120)
        first.signal(signal.SIGSTOP)
        with stack.worker("second"):
            [successor] = until(lambda: machines_of(tmp_path) - {own}, seconds=120)
            first.signal(signal.SIGCONT)
            until(lambda: own not in machines_of(tmp_path), seconds=60)
            assert successor in machines_of(tmp_path)
            result = wait_for(client, task_id)
            until(lambda: not machines_of(tmp_path), seconds=60)
            # The woken worker goes on and cleans up.
            until(lambda: not list((tmp_path / "work").glob("*/tasks/*")), seconds=60)
        again = wait_for(client, schedule(client, package_name="no-such-package"))
        after = client.get(f"/tasks/{task_id}/result").json()
        history = client.get(f"/tasks/{task_id}/history").json()

    assert (result["outcome"], result["result"]["attempt"]) == ("passed", 2), result
    assert after == result
    assert again["outcome"] == "failed", again
    assert own.endswith("-1")
    assert successor.endswith("-2")
    objects = s3_objects(s3)
    assert json.loads(objects[f"artifacts/{task_id}/2/report.json"]) == result["result"]
    assert json.loads(objects[f"results/celery-task-meta-{task_id}"])["result"]["attempt"] == 2
    assert [entry["attempt"] for entry in history["history"] if entry["outcome"]] == [2], history
