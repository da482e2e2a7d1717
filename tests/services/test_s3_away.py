"""S3 is unreachable during a whole task, and the worker dies before S3 is back: nothing is lost, no verdict waits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.services.test_full_stack import s3_objects
from tests.support.rabbitmq import PrivateRabbitMQ
from tests.support.s3 import PrivateS3
from tests.support.stack import ServiceStack, schedule, until, wait_for

pytestmark = [pytest.mark.docker, pytest.mark.services]


def test_a_verdict_without_s3_comes_at_once_and_its_logs_later(tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> None:
    with (
        PrivateS3() as s3,
        ServiceStack(tmp_path, rabbitmq, s3, forked=True, reap_interval=1.0) as stack,
        stack.client as client,
    ):
        s3.stop()
        with stack.worker("first") as first:
            task_id = schedule(client, package_name="no-such-package")
            result = wait_for(client, task_id)
            until(lambda: spooled(tmp_path, f"{task_id}-1"), seconds=30)
            first.kill_alone()
        assert (result["outcome"], result["result"]["artifacts"]) == (
            "failed",
            f"s3://service-stack/artifacts/{task_id}/1",
        )
        assert spooled(tmp_path, f"{task_id}-1")

        s3.start()
        with stack.worker("second"):
            until(lambda: not spooled(tmp_path, f"{task_id}-1"), seconds=60)
        objects = s3_objects(s3)

    assert json.loads(objects[f"artifacts/{task_id}/1/report.json"]) == result["result"]
    for stage in result["result"]["stages"]:
        if stage["log"]:
            assert objects[stage["log"].removeprefix("s3://service-stack/")]
    summary = json.loads(objects[f"results/celery-task-meta-{task_id}"])
    assert (summary["status"], summary["result"]["outcome"]) == ("SUCCESS", "failed")


def spooled(folder: Path, group: str) -> list[Path]:
    return list((folder / "work").glob(f"*/spool/{group}.*"))
