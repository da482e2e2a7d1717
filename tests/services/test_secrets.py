"""Plant secrets in a real run and search every visible place for them, also after failures."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest
import yaml
from pydantic import SecretStr

from alts.shared.auth.tokens import Scope, issue_token
from tests.support.checkout import ROOT
from tests.support.deb_repository import build_deb, serving, write_index
from tests.support.leak_watch import LeakWatch
from tests.support.ports import free_ports
from tests.support.rabbitmq import PrivateRabbitMQ
from tests.support.s3 import PrivateS3
from tests.support.server_process import ServerDidNotStart
from tests.support.stack import ServiceStack, schedule, until, wait_for

pytestmark = pytest.mark.services

WRONG = "wrong-" + secrets.token_hex(16)


def planted(rabbitmq: PrivateRabbitMQ, s3: PrivateS3) -> dict[str, str]:
    """Return the service's secrets: configuration key → secret."""
    return {
        "jwt_secret": secrets.token_hex(32),
        "worker_secret": secrets.token_hex(32),
        "rabbitmq_password": rabbitmq.password,
        "s3_secret_access_key": s3.secret_access_key,
        "database password": WRONG,
    }


def a_caller(url: str, secret: str) -> tuple[httpx.Client, str]:
    """Return a client of the service and the client's token."""
    token = issue_token(
        SecretStr(secret), algorithm="HS256", email="me@example.org", lifetime=timedelta(hours=1), scopes=[Scope.ADMIN]
    )
    client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=20, trust_env=False)
    return client, token


def search_what_is_left(watch: LeakWatch, folder: Path, rabbitmq: PrivateRabbitMQ) -> None:
    """Search logs, ledger, work folder and the broker's messages on disk. Skip config.yaml, which holds the secrets."""
    watch.search_files("file", folder, but=[folder / "config.yaml"])
    watch.search_files("message", rabbitmq.folder / "mnesia")


@pytest.mark.docker
def test_a_run_shows_its_secrets_nowhere(tmp_path: Path, rabbitmq: PrivateRabbitMQ, s3: PrivateS3) -> None:
    found = planted(rabbitmq, s3)
    given: dict[str, Any] = {key: found[key] for key in ("jwt_secret", "worker_secret")}
    folder = tmp_path / "repository"
    folder.mkdir()
    build_deb(folder, "slow-to-install", scripts={"postinst": "sleep 4; env; cat /proc/*/environ /proc/*/cmdline || :"})
    write_index(folder)
    stack = ServiceStack(tmp_path, rabbitmq, s3, s3_bucket="secrets", max_attempts=1, **given)
    with serving(folder) as url, stack:
        client, token = a_caller(stack.url, found["jwt_secret"])
        watch = LeakWatch({**found, "the caller's token": token})
        good = {"package_name": "slow-to-install", "repositories": [{"url": url, "trusted": True}]}
        bad = {"repositories": [{"url": f"{url}nothing-here/", "trusted": True}]}
        with client, watch.watching(tmp_path / "work", holders=["nanio", str(rabbitmq.folder)]):
            with stack.worker("worker"):
                tasks = [schedule(client, **good), schedule(client, **bad), schedule(client, package_name="no-such")]
                until(lambda: machine_of(tasks[0], watch), seconds=120)
                results = [wait_for(client, task_id) for task_id in tasks]
            for task_id in tasks:
                search_answers(watch, client, task_id)

    search_what_is_left(watch, tmp_path, rabbitmq)
    watch.search_files("S3", s3.folder)

    assert [result["outcome"] for result in results] == ["passed", "errored", "failed"]
    assert watch.leaks == set()
    for kind in ("arguments", "environment", "work folder", "file", "message", "S3", "machine", "answer"):
        assert watch.looked_at.get(kind), f"nothing of the kind {kind} was searched"


def machine_of(task_id: str, watch: LeakWatch) -> bool:
    """Return whether the task's machine exists. Search the engine's record of it."""
    client = docker.from_env()
    try:
        machines = client.containers.list(filters={"label": f"alts.task={task_id}"})
        for machine in machines:
            watch.search("machine", str(machine.name), str(machine.attrs))
        return bool(machines)
    finally:
        client.close()


def search_answers(watch: LeakWatch, client: httpx.Client, task_id: str) -> None:
    """Search all that the API returns about a task and about itself."""
    for path in (f"/tasks/{task_id}", f"/tasks/{task_id}/result", "/health", "/docs", "/openapi.json"):
        watch.search("answer", path, client.get(path).text)
    report = client.get(f"/tasks/{task_id}/result").json()["result"]
    for name in ["report.json", "report.junit.xml", *(f"{stage['stage']}.log" for stage in report["stages"])]:
        watch.search("answer", name, client.get(f"/tasks/{task_id}/artifacts/1/{name}").content)


def test_a_broker_and_an_s3_server_that_refuse_us_learn_the_secret_and_nobody_else(
    tmp_path: Path, rabbitmq: PrivateRabbitMQ, s3: PrivateS3
) -> None:
    wrong = {"rabbitmq_password": f"{WRONG}-broker", "s3_secret_access_key": f"{WRONG}-s3"}
    given: dict[str, Any] = {"jwt_secret": secrets.token_hex(32), **wrong}
    with ServiceStack(tmp_path, rabbitmq, s3, s3_bucket="refused", **given) as stack:
        client, token = a_caller(stack.url, given["jwt_secret"])
        watch = LeakWatch({**given, "the caller's token": token})
        with client, watch.watching(tmp_path, holders=["nanio", str(rabbitmq.folder)]):
            task_id = schedule(client)
            health = until(lambda: all_away(client), seconds=60)
            watch.search("answer", "/health", str(health))
            watch.search("answer", "artifact", client.get(f"/tasks/{task_id}/artifacts/1/report.json").text)
            watch.search("answer", "details", client.get(f"/tasks/{task_id}").text)
            with pytest.raises(ServerDidNotStart) as ending, stack.worker("worker", start_timeout=20):
                pytest.fail("the broker has refused it")
            watch.search("log", "worker", str(ending.value))
            until(lambda: "refused" in stack.log_of("scheduler").lower(), seconds=30)

    search_what_is_left(watch, tmp_path, rabbitmq)

    assert health["broker"]["detail"]
    assert health["storage"]["detail"]
    assert "ACCESS_REFUSED" in stack.log_of("worker")
    config = f" {tmp_path / 'config.yaml'}"
    assert {leak for leak in watch.leaks if not leak.endswith(config)} == set()


def all_away(client: httpx.Client) -> Mapping[str, Any] | None:
    parts: dict[str, Any] = client.get("/health").json()["parts"]
    return parts if not parts["broker"]["ok"] and not parts["storage"]["ok"] else None


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://alts:{password}@127.0.0.1:{port}/alts",
        "postgresql+psycopg://alts:{password}@127.0.0.1:{port}x/alts",
        "nonsense://alts:{password}@127.0.0.1/alts",
        "mysql://alts:{password}@127.0.0.1/alts",
        "alts:{password}@127.0.0.1",
    ],
    ids=["nobody there", "no port", "no dialect", "no driver", "no URL"],
)
def test_a_ledger_that_cannot_be_opened_is_named_without_its_password(tmp_path: Path, url: str) -> None:
    (port,) = free_ports(1)
    keys = {
        "jwt_secret": secrets.token_hex(32),
        "rabbitmq_password": f"{WRONG}-broker",
        "storage": "folder",
        "storage_folder": str(tmp_path / "storage"),
        "database_url": url.format(password=WRONG, port=port),
    }
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(keys))

    done = subprocess.run(
        [sys.executable, "-c", "import scheduler.app"],
        cwd=ROOT,
        env={"PATH": "", "ALTS_CONFIG": str(config)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert WRONG not in done.stdout + done.stderr
