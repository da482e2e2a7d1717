"""Tests on images that have the distribution's package lists: what is fetched for a task, and what old lists cost."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import docker
import pytest

from alts.core.instance import InstanceFile
from alts.core.stop import Stop
from alts.images.prepared import FETCHED_LABEL
from alts.pipeline.package_lists import DISTRIBUTION
from alts.runners.base import MachineRequest
from alts.shared.config import Config
from alts.shared.models.platform import Platform
from tests.corpus import rpm_builder
from tests.support.acceptance import STANDIN
from tests.support.builders import a_spec
from tests.support.deb_repository import build_deb, serving, write_index
from tests.support.embedded import EmbeddedService
from tests.support.mirror import mirror
from tests.support.plain_runner import PlainRunner, plain_runner
from tests.support.small_archive import machine_files, small_archive
from tests.support.stack import schedule, until, wait_for

pytestmark = pytest.mark.docker

MAX_AGE = 900.0
Result = Mapping[str, Any]


@pytest.fixture(scope="module")
def results(rpm_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Result]]:
    """Yield name → result. When the images were made, the distribution had version 1.0 of `moving`, and later 2.0."""
    folder = tmp_path_factory.mktemp("prepared")
    distribution, own = folder / "packages/distribution", folder / "packages/own"
    for packages, name in ((distribution, "moving"), (own, "brought")):
        packages.mkdir(parents=True)
        build_deb(packages, name)
        write_index(packages)
    runners: list[PlainRunner] = []
    with (
        serving(folder / "packages") as url,
        small_archive(()) as archive,
        mirror(folder, archive) as debian,
        rpm_builder.repositories(rpm_corpus) as rpms,
        images_removed(),
    ):
        source = InstanceFile("/etc/apt/sources.list.d/zz.list", f"deb [trusted=yes] {url}distribution/ ./\n")

        def make_runner(config: Config, *, worker: str, folder: Path) -> PlainRunner:
            files = [*machine_files(archive, debian.url), source]
            runners.append(plain_runner(config, worker=worker, folder=folder, apt_files=files))
            return runners[-1]

        with EmbeddedService(folder, registry={"docker": make_runner}, repository_max_age=MAX_AGE) as service:
            for spec in (a_spec(), a_spec(**STANDIN)):
                prepare_image(runners[0], spec.platform)
            (distribution / "moving_1.0_all.deb").unlink()
            build_deb(distribution, "moving", version="2.0")
            write_index(distribution)
            requests: Mapping[str, Mapping[str, Any]] = {
                "brought": {"package_name": "brought", "repositories": [{"url": f"{url}own/", "trusted": True}]},
                "gone": {"package_name": "moving"},
                "refreshed": {"package_name": "moving", "refresh": True},
                "rpm": {**STANDIN, "package_name": "good-noarch", "repositories": rpms["plain"]},
            }
            with service.client as client:
                tasks = {name: schedule(client, **request) for name, request in requests.items()}
                yield {name: wait_for(client, task_id) for name, task_id in tasks.items()}


def prepare_image(runner: PlainRunner, platform: Platform) -> None:
    """Ask for machines until their image is there. None is made."""
    requests = [MachineRequest(platform, str(uuid.uuid4()), 0, Path("/nonexistent")) for _ in range(2)]
    runner.module.plan(requests, stop=Stop(600), log=print)
    until(lambda: runner.module.is_outdated(platform, {}), seconds=120)


@contextmanager
def images_removed() -> Iterator[None]:
    """Remove the prepared images that are new at the end."""
    with closing(docker.from_env()) as sdk:
        before = prepared(sdk)
        try:
            yield
        finally:
            for image in prepared(sdk) - before:
                sdk.images.remove(image, force=True)


def prepared(sdk: docker.DockerClient) -> set[str]:
    return {str(image.id) for image in sdk.images.list(filters={"label": FETCHED_LABEL})}


def steps(result: Result, stage: str) -> str:
    [names] = [[step["name"] for step in one["steps"]] for one in result["result"]["stages"] if one["stage"] == stage]
    return "\n".join(names)


def fetched_before_the_test(result: Result, index: str) -> bool:
    report = result["result"]
    # The time of an index has no fractions of a second.
    begun = datetime.fromisoformat(report["started_at"]).replace(microsecond=0)
    return datetime.fromisoformat(report["indexes"][index]) < begun


@pytest.mark.parametrize("name", ["brought", "gone", "refreshed", "rpm"])
def test_every_package_passes(results: Mapping[str, Result], name: str) -> None:
    assert results[name]["outcome"] == "passed", results[name]


@pytest.mark.parametrize(("name", "alone"), [("brought", "sources.list.d/alts-"), ("rpm", "--repo=alts-*")])
def test_only_the_lists_of_the_task_s_repository_are_fetched(
    results: Mapping[str, Result], name: str, alone: str
) -> None:
    result = results[name]
    [own] = result["result"]["indexes"].keys() - {DISTRIBUTION}

    assert alone in steps(result, "prepare")
    assert fetched_before_the_test(result, DISTRIBUTION)
    assert not fetched_before_the_test(result, own)


def test_a_file_that_its_new_version_has_replaced_is_looked_for_in_new_lists(results: Mapping[str, Result]) -> None:
    result = results["gone"]

    assert "apt-get --quiet update" not in steps(result, "prepare")
    assert "apt-get --quiet update" in steps(result, "install")
    assert result["result"]["package"]["version"] == "2.0"
    assert not fetched_before_the_test(result, DISTRIBUTION)
    [log] = [stage["log"] for stage in result["result"]["stages"] if stage["stage"] == "install"]
    assert "the image's lists may be too old" in EmbeddedService.read(log)


def test_a_task_may_ask_for_new_lists(results: Mapping[str, Result]) -> None:
    result = results["refreshed"]

    assert "apt-get --quiet update" in steps(result, "prepare")
    assert "update" not in steps(result, "install")
    assert result["result"]["package"]["version"] == "2.0"
    assert not fetched_before_the_test(result, DISTRIBUTION)


def test_the_report_names_both_images(results: Mapping[str, Result]) -> None:
    for result in results.values():
        image = result["result"]["image"]
        assert image["id"] != image["prepared"]
