"""docker-compose.yml: build and start the stack as README.md says, and test a package."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from alts.shared.models.report import REPORT
from alts.shared.storage.s3 import S3Store
from tests.support.checkout import ROOT
from tests.support.compose_stack import ComposeStack, belongings, compose_command
from tests.support.leftovers import leftovers
from tests.support.reports import same_in_substance
from tests.support.stack import schedule, until, wait_for

# Building all images without a cache takes a few minutes.
pytestmark = [pytest.mark.compose, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposeStack]:
    with ComposeStack(tmp_path_factory.mktemp("compose")) as stack:
        yield stack
    assert belongings() == []


@pytest.fixture(scope="module")
def result(stack: ComposeStack) -> Iterator[dict[str, Any]]:
    """Yield the API's result of a finished task. Afterwards, check that its machine left nothing behind."""
    until(lambda: "ready." in stack.logs("worker"), seconds=60)
    with stack.client as client:
        # The first task bootstraps Debian 12 if neither the engine nor a registry has it.
        result = wait_for(client, schedule(client), seconds=600)
    if result["outcome"] != "passed":
        print(stack.logs("worker", "scheduler"))
    yield result
    assert leftovers(labels={"alts.task": result["task_id"]}) == []


def test_every_part_can_be_reached(stack: ComposeStack) -> None:
    with stack.client as client:
        # The API can answer before the worker's first announcement arrives.
        until(lambda: client.get("/health").raise_for_status().json()["status"] == "ok", seconds=60)


def test_a_package_is_tested_and_passes(result: dict[str, Any]) -> None:
    assert result["state"] == "SUCCESS", result
    assert result["outcome"] == "passed", result


@pytest.mark.docker
def test_the_verdict_is_the_same_as_the_embedded_stacks(result: dict[str, Any], hello_report: dict[str, Any]) -> None:
    assert same_in_substance(result["result"], hello_report)


def test_logs_and_report_are_in_the_s3_server(stack: ComposeStack, result: dict[str, Any]) -> None:
    store = S3Store(
        endpoint_url=f"http://127.0.0.1:{stack.s3_port}",
        region="us-east-1",
        bucket="alts",
        access_key_id="alts",
        secret_access_key=SecretStr(stack.password),
    )

    report = REPORT.validate_json(store.get(f"artifacts/{result['task_id']}/1/report.json"))
    summary = store.get(f"results/celery-task-meta-{result['task_id']}")

    assert report.task_id == result["task_id"]
    for stage in report.stages:
        assert stage.log is not None
        assert store.get(stage.log.removeprefix("s3://alts/"))
    assert b"passed" in summary


def test_nothing_but_this_host_can_reach_the_ports() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]

    ports = [port for service in services.values() for port in service.get("ports", [])]

    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_without_a_password_the_stack_refuses_and_says_where_to_read_on(tmp_path: Path) -> None:
    (tmp_path / ".env").touch()

    done = subprocess.run(
        [*compose_command(), "--env-file", str(tmp_path / ".env"), "config"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "ALTS_PASSWORD"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode != 0
    assert "README.md" in done.stderr


@pytest.mark.long
def test_a_base_image_is_made_without_another_image() -> None:
    name = f"alts-test-base:{uuid.uuid4().hex[:12]}"
    try:
        for command in (
            ["resources/compose/base-image.sh", name],
            ["docker", "run", "--rm", name, "apt-get", "update"],
        ):
            done = subprocess.run(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False
            )
            assert done.returncode == 0, done.stderr
    finally:
        subprocess.run(["docker", "rmi", "--force", name], capture_output=True, check=False)
