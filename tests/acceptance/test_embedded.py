"""The embedded stack in this process, from HTTP request to verdict, on a real machine.

Tests of what a package manager says use plain machines, which cost less.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from alts.pipeline.plans import STANDARD
from tests.support.deb_repository import build_deb, serving, write_index
from tests.support.embedded import EmbeddedService
from tests.support.plain_service import plain_service
from tests.support.stack import schedule, until, wait_for

pytestmark = pytest.mark.docker

VERSION = re.compile(r"\d+(\.\d+)+")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[EmbeddedService]:
    with EmbeddedService(tmp_path) as service:
        yield service


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[EmbeddedService]:
    """A service for tests of a package manager's answers, whose machines are made without Terraform and Ansible."""
    # One for each test: the stacks of a process share one broker in memory, so two must not be open at once.
    with plain_service(tmp_path, wanted=("hello", "bash")) as service:
        yield service


def run(service: EmbeddedService, **fields: Any) -> dict[str, Any]:
    with service.client as client:
        return wait_for(client, schedule(client, **fields))


def test_hello_passes_every_stage_and_the_report_says_what_really_ran(service: EmbeddedService) -> None:
    result = run(service)

    report = result["result"]
    assert (result["state"], result["outcome"]) == ("SUCCESS", "passed"), report
    assert [stage["stage"] for stage in report["stages"]] == [stage.name for stage in STANDARD]
    assert {stage["outcome"] for stage in report["stages"]} == {"passed"}
    assert report["package"]["name"] == "hello"
    assert "bookworm/main" in report["package"]["origin"] == report["package"]["repository"]
    assert report["package"]["file"].startswith("pool/main/h/hello/hello_")
    assert len(report["package"]["sha256"]) == 64
    assert report["closure"] == [f"hello {report['package']['version']}"]
    assert all(VERSION.search(report["tools"][tool]) for tool in ("terraform", "ansible", "docker", "package_manager"))
    assert report["image"]["origin"] in ("local", "pulled", "bootstrapped")
    logs = {stage["stage"]: service.read(stage["log"]) for stage in report["stages"]}
    assert "Apply complete!" in logs["prepare"]
    assert "PLAY RECAP" in logs["prepare"]
    assert "Setting up hello" in logs["install"]
    assert json.loads(service.read(f"{report['artifacts']}/report.json")) == report


# Debian 11 gets no more updates since August 2026 (wiki.debian.org/LTS).
@pytest.mark.parametrize("version", [pytest.param("11", marks=pytest.mark.long), "13"])
def test_hello_passes_on_every_debian(service: EmbeddedService, version: str) -> None:
    result = run(service, dist_version=version)

    assert result["outcome"] == "passed", result["result"]
    assert result["result"]["platform"] == f"debian-{version} on x86_64"


def test_a_package_that_nobody_has_fails_in_plain_words(plain: EmbeddedService) -> None:
    result = run(plain, package_name="no-such-package")

    assert (result["state"], result["outcome"]) == ("FAILURE", "failed")
    assert result["result"]["reason"] == "install: no repository of this machine has a package named no-such-package"


def test_a_version_that_nobody_has_fails_and_says_what_there_is(plain: EmbeddedService) -> None:
    result = run(plain, package_version="99.9-1")

    [finding] = [finding for stage in result["result"]["stages"] for finding in stage["findings"]]
    assert finding["kind"] == "version_not_available"
    assert "2.10-3" in finding["evidence"]


def test_a_package_from_the_task_s_own_repository_is_tested(plain: EmbeddedService, tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    folder.mkdir()
    build_deb(folder, "good-one", version="1:2.0~rc1+b2")
    build_deb(folder, "bad-postinst", scripts={"postinst": "echo this goes wrong >&2; exit 3"})
    build_deb(folder, "bad-dependency", fields={"Depends": "nothing-has-this (>= 7)"})
    build_deb(folder, "bad-file", scripts={"postinst": "rm /usr/share/bad-file/readme"})
    build_deb(folder, "bad-prerm", scripts={"prerm": "exit 5"})
    write_index(folder)
    expected = {
        "good-one": [],
        "bad-postinst": ["scriptlet_failed"],
        "bad-dependency": ["dependency_unmet"],
        "bad-file": ["missing_file"],
        "bad-prerm": ["scriptlet_failed"],
    }

    with serving(folder) as url, plain.client as client:
        repositories = [{"name": "mine", "url": url, "trusted": True}]
        tasks = {name: schedule(client, package_name=name, repositories=repositories) for name in expected}
        results = {name: wait_for(client, task_id) for name, task_id in tasks.items()}

    assert {name: kinds_of(result) for name, result in results.items()} == expected
    assert results["good-one"]["outcome"] == "passed"
    assert results["good-one"]["result"]["package"]["version"] == "1:2.0~rc1+b2"
    assert {result["outcome"] for name, result in results.items() if name != "good-one"} == {"failed"}


def test_an_unreachable_repository_is_not_the_package_s_fault(service: EmbeddedService) -> None:
    result = run(service, repositories=[{"url": "http://127.0.0.1:9/debian sid main"}])

    assert result["outcome"] == "errored"
    assert set(kinds_of(result)) == {"repository_unreachable"}
    assert "127.0.0.1:9" in result["result"]["reason"]


def test_an_essential_package_passes_without_being_removed(plain: EmbeddedService) -> None:
    result = run(plain, package_name="bash")

    stages = {stage["stage"]: stage for stage in result["result"]["stages"]}
    assert result["outcome"] == "passed"
    assert result["result"]["package"]["origin"] == "already installed"
    assert stages["right_package"]["reason"].startswith("bash ")
    assert stages["remove"]["reason"] == "removing bash would remove essential packages"
    assert {stages[name]["outcome"] for name in ("right_package", "remove", "purge", "leftovers")} == {"skipped"}


def test_a_running_task_can_be_cancelled(service: EmbeddedService, tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    folder.mkdir()
    build_deb(folder, "hangs", scripts={"postinst": "sleep 600"})
    write_index(folder)

    with serving(folder) as url, service.client as client:
        task_id = schedule(client, package_name="hangs", repositories=[{"url": url, "trusted": True}])
        wait_until_stage(client, task_id, "system_info")
        assert client.post(f"/tasks/{task_id}/cancel").status_code == 202
        result = wait_for(client, task_id, seconds=30)
        # A repeated cancel is harmless.
        assert client.post(f"/tasks/{task_id}/cancel").status_code == 200

    assert (result["state"], result["outcome"]) == ("REVOKED", "cancelled")


def wait_until_stage(client: httpx.Client, task_id: str, stage: str) -> None:
    def done() -> bool:
        progress = client.get(f"/tasks/{task_id}").json()["progress"]
        return any(result["stage"] == stage for result in progress)

    until(done, seconds=120)


def kinds_of(result: dict[str, Any]) -> list[str]:
    return [finding["kind"] for stage in result["result"]["stages"] for finding in stage["findings"]]
