"""With a full ledger disk the service says so, refuses tasks and serves reads. It recovers once space is free."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.chaos.disk import SmallDisk
from tests.support.embedded_process import Embedded
from tests.support.stack import schedule, until

pytestmark = pytest.mark.services

REQUEST = {"dist_name": "debian", "dist_version": "12", "dist_arch": "x86_64", "package_name": "chaos-good"}


def accepts(client: httpx.Client) -> bool:
    return client.post("/tasks/schedule", json=REQUEST).status_code == 201


def test_a_start_with_a_full_disk_says_so_and_takes_tasks_once_there_is_room(tmp_path: Path) -> None:
    with SmallDisk(tmp_path / "disk") as disk:
        service = Embedded(tmp_path, database_url=f"sqlite:///{tmp_path}/disk/ledger.sqlite")
        service.start()
        try:
            before = schedule(service.client, package_name="chaos-good")
            assert service.ends(before) == "passed"
            service.kill()
            disk.fill()

            service.start()

            refused = service.client.post("/tasks/schedule", json=REQUEST)
            assert refused.status_code == 503
            assert "disk is full" in refused.json()["detail"]
            health = service.client.get("/health")
            assert (health.status_code, health.json()["status"]) == (503, "down")
            assert f"MB are free at {tmp_path}/disk" in health.json()["parts"]["ledger"]["detail"]
            assert service.client.get(f"/tasks/{before}/result").json()["outcome"] == "passed"

            disk.clear()

            until(lambda: accepts(service.client), seconds=30)
            until(lambda: service.client.get("/health").is_success, seconds=30)
        finally:
            service.kill()
            service.client.close()


def test_strangers_learn_from_health_of_a_full_disk_that_the_ledger_is_not_well_and_nothing_else(
    tmp_path: Path,
) -> None:
    with SmallDisk(tmp_path / "disk") as disk:
        service = Embedded(tmp_path, database_url=f"sqlite:///{tmp_path}/disk/ledger.sqlite")
        disk.fill()
        disk.make_room(megabytes=8)
        service.start()
        try:
            del service.client.headers["Authorization"]

            answer = service.client.get("/health")

            assert answer.json()["parts"]["ledger"] == {"ok": False, "detail": ""}
            assert str(tmp_path) not in answer.text
        finally:
            service.kill()
            service.client.close()
