"""The whole service on RabbitMQ and S3: the same verdict, and nothing is lost with a worker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import boto3
import docker
import pytest

from alts.runners.docker.inventory import TASK_LABEL
from tests.support.deb_repository import serving_slow_package
from tests.support.leftovers import machines_of
from tests.support.rabbitmq import PrivateRabbitMQ
from tests.support.reports import same_in_substance
from tests.support.s3 import PrivateS3
from tests.support.stack import PLAIN, ServiceStack, schedule, until, wait_for

pytestmark = [pytest.mark.docker, pytest.mark.services]


@pytest.fixture
def stack(tmp_path: Path, rabbitmq: PrivateRabbitMQ, s3: PrivateS3) -> Iterator[ServiceStack]:
    with ServiceStack(tmp_path, rabbitmq, s3, forked=True) as stack:
        yield stack


def test_a_task_goes_through_rabbitmq_and_s3(
    stack: ServiceStack, s3: PrivateS3, hello_report: dict[str, object]
) -> None:
    with stack.client as client, stack.worker("worker"):
        task_id = schedule(client)
        result = wait_for(client, task_id)

    assert (result["state"], result["outcome"]) == ("SUCCESS", "passed")
    report = result["result"]
    assert same_in_substance(report, hello_report)
    objects = s3_objects(s3)
    assert json.loads(objects[f"artifacts/{task_id}/1/report.json"]) == report
    for stage in report["stages"]:
        assert stage["log"] == f"s3://service-stack/artifacts/{task_id}/1/{stage['stage']}.log"
        assert objects[f"artifacts/{task_id}/1/{stage['stage']}.log"]
    summary = json.loads(objects[f"results/celery-task-meta-{task_id}"])
    assert summary["status"] == "SUCCESS"
    assert summary["result"]["outcome"] == "passed"


def test_a_task_that_was_accepted_before_any_worker_came_is_done_when_one_comes(stack: ServiceStack) -> None:
    with stack.client as client:
        task_id = schedule(client, package_name="no-such-package")
        assert client.get(f"/tasks/{task_id}/result").json()["state"] == "PENDING"
        with stack.worker("worker", app=PLAIN):
            result = wait_for(client, task_id)

    assert (result["state"], result["outcome"]) == ("FAILURE", "failed")


def test_what_no_worker_survives_is_put_aside(stack: ServiceStack, rabbitmq: PrivateRabbitMQ) -> None:
    with stack.worker("worker"):
        queues = {queue["name"] for queue in json.loads(rabbitmq.ctl("list_queues", "name"))}

    assert {"alts-dead", "docker-x86_64-0"} <= queues


def test_a_worker_killed_in_mid_install_is_replaced_and_nothing_of_it_is_left(
    stack: ServiceStack, tmp_path: Path
) -> None:
    with serving_slow_package(tmp_path / "repository", seconds=8) as request, stack.client as client:
        with stack.worker("first") as first:
            task_id = schedule(client, **request)
            until(lambda: installing(task_id), seconds=120)
            machines_of_first = machines_of(tmp_path)
            first.kill_alone()
        with stack.worker("second"):
            result = wait_for(client, task_id)
            assert not machines_of_first & machines_of(tmp_path)
        details = client.get(f"/tasks/{task_id}").json()

    assert result["outcome"] == "passed", result
    assert result["result"]["attempt"] == 2
    assert details["attempt"] == 2
    assert any(f"{task_id}-1" in name for name in machines_of_first)
    assert not list((tmp_path / "work").glob("*/tasks/*"))


def installing(task_id: str) -> bool:
    """Return whether the task's machine runs the slow script now.

    The host sees the processes of its containers. Asking the engine for them starts ps(1) on each poll.
    """
    groups = list(groups_of_slow_scripts())
    if not groups:
        return False
    with closing(docker.from_env()) as client:
        machines = client.containers.list(filters={"label": f"{TASK_LABEL}={task_id}"}, ignore_removed=True)
    return any(str(machine.id) in group for machine in machines for group in groups)


def groups_of_slow_scripts() -> Iterator[str]:
    """Yield the control groups (cgroups(7)) of every slow script of this host, with their containers' ids."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # the process has ended
            if (process / "cmdline").read_bytes() == b"sleep\08\0":
                yield (process / "cgroup").read_text()


def s3_objects(s3: PrivateS3) -> dict[str, bytes]:
    client = boto3.client(
        "s3",
        endpoint_url=s3.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=s3.access_key_id,
        aws_secret_access_key=s3.secret_access_key,
    )
    keys = [entry["Key"] for entry in client.list_objects_v2(Bucket="service-stack")["Contents"]]
    return {key: client.get_object(Bucket="service-stack", Key=key)["Body"].read() for key in keys}
