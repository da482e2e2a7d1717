"""Hostile packages run through the embedded stack, concurrently with good ones.

Their actions affect their own verdicts alone, not the host or other tests.
"""

from __future__ import annotations

import http.server
import json
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import docker
import httpx
import pytest

from tests.corpus import deb_builder, hostile_debs, hostile_rpms, rpm_builder
from tests.corpus.hostile_debs import (
    ESCAPED,
    GOOD_NEIGHBOURS,
    HOST_SETTINGS,
    HOSTILE_DEBS,
    METADATA_ADDRESSES,
    METADATA_PORT,
    HostileRow,
)
from tests.corpus.hostile_rpms import GOOD_NEIGHBOUR
from tests.support.acceptance import STANDIN
from tests.support.embedded import EmbeddedService
from tests.support.leftovers import WORKER_LABEL, leftovers, workers_of
from tests.support.machine_slots import AT_ONCE, SHARED, MachineSlots
from tests.support.mirror import mirror
from tests.support.plain_runner import plain_runner
from tests.support.small_archive import machine_files, names_in_fields, small_archive
from tests.support.stack import FINISHED, schedule

# The first test waits for all rows, which run concurrently.
pytestmark = [pytest.mark.docker, pytest.mark.timeout(3600)]

# Seconds. Packages hang during install, so that limit is short, but long enough for every package that does not hang.
STAGE_TIMEOUTS = {"install": 40.0, "remove": 180.0}
LIMITS = {"memory_mb": 512, "cpus": 1.0, "pids": 256, "disk_mb": 400}
PATIENCE = 1500.0

DEBIAN = {"dist_name": "debian", "dist_version": "12", "dist_arch": "x86_64"}
ROWS = (*hostile_debs.ROWS, *hostile_rpms.ROWS)

# A log keeps its first four million and last one million characters (alts.pipeline.stage_log). The rest is a few pages.
LARGEST_LOG = 5_200_000
LARGEST_REPORT = 200_000

Result = Mapping[str, Any]


@dataclass
class Run:
    """Observations of the run. They are complete once it is over."""

    results: dict[str, Result] = field(default_factory=dict)
    """Package → result."""
    neighbours: dict[str, Result] = field(default_factory=dict)
    machines: set[str] = field(default_factory=set)
    """Ids of all containers seen during the run."""
    left: list[str] = field(default_factory=list)
    settings_before: Mapping[str, str] = field(default_factory=dict)
    settings_after: Mapping[str, str] = field(default_factory=dict)
    storage: Path = Path()


@pytest.fixture(scope="module")
def run(rpm_corpus: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Run:
    """Test every package of the tables, or of the selected rows, with good packages before, among and after them."""
    chosen = {item.name for item in request.session.items if item.path == request.path}
    rows = [row for row in ROWS if any(name.endswith(f"[{row.id}]") for name in chosen)]
    if any("[" not in name for name in chosen):
        rows = list(ROWS)
    folder = tmp_path_factory.mktemp("hostile")
    over = Run(storage=folder / "storage", settings_before=host_settings())
    slots = MachineSlots(SHARED)
    with (
        ExitStack() as held,
        metadata_service(),
        deb_builder.repositories(tmp_path_factory.mktemp("debs") / "all", (*HOSTILE_DEBS, *GOOD_NEIGHBOURS)) as debs,
        rpm_builder.repositories(rpm_corpus) as rpms,
        small_archive(names_in_fields(*HOSTILE_DEBS, *GOOD_NEIGHBOURS)) as archive,
        mirror(folder, archive) as debian,
        EmbeddedService(
            folder,
            registry={"docker": partial(plain_runner, apt_files=machine_files(archive, debian.url), sealed=True)},
            stage_timeouts=STAGE_TIMEOUTS,
            instance_limits=LIMITS,
        ) as service,
        service.client as client,
    ):
        # The service itself runs that many machines at once, each with all its resources: take most slots from others.
        for _ in range(AT_ONCE - 1):
            held.enter_context(slots.one(seconds=PATIENCE))
        offered = {"12": (DEBIAN, [debs["plain"]]), "9": (STANDIN, rpms["plain"])}

        def submit(package: str, distribution: str) -> str:
            platform, repositories = offered[distribution]
            return schedule(client, **platform, package_name=package, repositories=repositories)

        first, among, *last = [deb.name for deb in GOOD_NEIGHBOURS]
        neighbours = {first: submit(first, "12")}
        tasks = {}
        for number, row in enumerate(sorted(rows, key=lambda row: row.slow, reverse=True)):
            tasks[row.package] = submit(row.package, row.distribution)
            if number == len(rows) // 3:
                neighbours[among] = submit(among, "12")
                neighbours[GOOD_NEIGHBOUR.name] = submit(GOOD_NEIGHBOUR.name, "9")
        neighbours |= {name: submit(name, "12") for name in last}
        watch(client, {**tasks, **neighbours}, over, folder)
        over.neighbours = {name: over.results.pop(name) for name in neighbours}
    over.settings_after = host_settings()
    over.left = leftovers(folder)
    return over


def watch(client: httpx.Client, tasks: Mapping[str, str], over: Run, folder: Path) -> None:
    """Wait for all tasks. Record their results and the machines that appear."""
    engine = docker.from_env()
    deadline = time.monotonic() + PATIENCE
    looks = 0
    try:
        while missing := tasks.keys() - over.results.keys():
            assert time.monotonic() < deadline, f"not finished: {', '.join(sorted(missing))}"
            # A poll of fifty tasks costs a fifth of a processor second.
            for package in missing if (looks := looks + 1) % 4 == 0 else ():
                result = client.get(f"/tasks/{tasks[package]}/result").raise_for_status().json()
                if result["state"] in FINISHED:
                    over.results[package] = result
            for worker in workers_of(folder):
                label = f"{WORKER_LABEL}={worker}"
                found = engine.api.containers(all=True, filters={"label": label})
                over.machines |= {str(container["Id"]) for container in found}
            time.sleep(1)
    finally:
        engine.close()


def host_settings() -> Mapping[str, str]:
    """Return path → value of the settings that scripts write to. Some kernels lack some of them."""
    return {path: Path(path).read_text() for path in HOST_SETTINGS if Path(path).exists()}


class Generous(http.server.BaseHTTPRequestHandler):
    """Stand for a metadata service. An accepted connection is enough."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@contextmanager
def metadata_service() -> Iterator[None]:
    """Serve at clouds' metadata address on this host, or at the substitute address if the real one is in use."""
    theirs, stand_in = METADATA_ADDRESSES
    routed = subprocess.run(["ip", "route", "get", theirs], capture_output=True, text=True, check=False).stdout
    address = stand_in if "link" in routed or f"{theirs} dev" in routed else theirs
    subprocess.run(["ip", "address", "replace", f"{address}/32", "dev", "lo"], check=True)
    try:
        with http.server.ThreadingHTTPServer((address, METADATA_PORT), Generous) as server:
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            yield
            server.shutdown()
            thread.join()
    finally:
        subprocess.run(["ip", "address", "del", f"{address}/32", "dev", "lo"], check=True)


def serious(result: Result) -> list[Mapping[str, Any]]:
    """Return the findings except those of severity info."""
    found = [finding for stage in result["result"]["stages"] for finding in stage["findings"]]
    return [finding for finding in found if finding["severity"] != "info"]


@pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])
def test_a_row_is_judged_as_the_table_says(row: HostileRow, run: Run) -> None:
    result = run.results[row.package]

    found = serious(result)
    assert (result["outcome"], sorted(finding["kind"] for finding in found)) == (row.outcome, sorted(row.kinds)), (
        f"{row.why}: {result['result']['stages']}"
    )
    assert all(finding["message"] for finding in found)


def test_those_beside_them_pass_without_a_word(run: Run) -> None:
    verdicts = {name: (result["outcome"], serious(result)) for name, result in run.neighbours.items()}

    assert verdicts == dict.fromkeys(verdicts, ("passed", []))
    assert len(verdicts) == len(GOOD_NEIGHBOURS) + 1


def test_nothing_is_left_on_the_host_and_its_engine_answers(run: Run) -> None:
    assert run.left == []
    assert len(run.machines) >= len(ROWS)
    assert processes_of(run.machines) == []
    client = docker.from_env()
    try:
        assert client.ping()
    finally:
        client.close()


def processes_of(containers: set[str]) -> list[str]:
    """Return "<name> of <container>" for every process in a container's control group (cgroups(7))."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            groups, name = (process / "cgroup").read_text(), (process / "comm").read_text().strip()
        except OSError:
            continue
        found += [f"{name} of {container}" for container in containers if container in groups]
    return found


def test_the_host_s_settings_are_as_they_were(run: Run) -> None:
    assert "/proc/sys/kernel/core_pattern" in run.settings_before
    assert run.settings_after == run.settings_before


def test_no_script_has_done_what_it_must_not_be_able_to(run: Run) -> None:
    logs = {path: path.read_text(errors="replace") for path in run.storage.glob("**/install.log")}

    assert len(logs) >= len(ROWS)
    assert [path for path, text in logs.items() if f"{ESCAPED}" in text] == []


def test_reports_and_logs_stay_of_a_size_that_can_be_read(run: Run) -> None:
    sizes = {path: path.stat().st_size for path in run.storage.glob("**/*") if path.is_file()}
    flood = {path: size for path, size in sizes.items() if path.name == "install.log" and size > LARGEST_LOG // 2}

    assert flood
    assert {path: size for path, size in sizes.items() if path.suffix == ".log" and size > LARGEST_LOG} == {}
    short = ("report.json", "report.junit.xml", "report.tap")
    assert {path: size for path, size in sizes.items() if path.name in short and size > LARGEST_REPORT} == {}


def test_whatever_names_and_words_there_were_the_reports_can_be_read(run: Run) -> None:
    reports = list(run.storage.glob("**/report.json"))

    assert len(reports) == len(run.results) + len(run.neighbours)
    for report in reports:
        stages = json.loads(report.read_text())["stages"]
        suites = ElementTree.fromstring(report.with_name("report.junit.xml").read_text())
        assert len(suites.findall(".//testcase")) == len(stages)
