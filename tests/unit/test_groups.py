"""What must not be in two processes at once is in one group."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.groups import FIRST, GROUPS, HOST, SERVERS, group_of

ROOT = Path(__file__).parents[2]
# Prints the fixtures that every test asks for.
SHOW = """
def pytest_collection_modifyitems(items):
    for item in items:
        print("ITEM", item.nodeid.replace(" ", "_"), ",".join(item.fixturenames))
"""
# Prints which process has run every test: each takes a moment, so that no process can have them all by chance.
TESTS = """
import os, time, pytest

@pytest.mark.parametrize("number", range(4))
def test_one(number):
    time.sleep(0.1)
    with open({log!r}, "a") as log:
        log.write(f"{name} {{os.environ['PYTEST_XDIST_WORKER']}}\\n")
"""
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}


def pytest_says(*arguments: str, **environment: str) -> str:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env={**ENVIRONMENT, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Every test that there is → its fixtures."""
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "show_fixtures.py").write_text(SHOW)
    said = pytest_says("-q", "--collect-only", "-p", "show_fixtures", PYTHONPATH=str(folder))
    lines = [line.split(" ") for line in said.splitlines() if line.startswith("ITEM ")]
    return {nodeid: set(fixtures.split(",")) for _, nodeid, fixtures in lines}


def test_every_file_that_asks_for_a_private_server_is_in_its_group(collected: dict[str, set[str]]) -> None:
    assert {group_of(item) for item, fixtures in collected.items() if fixtures & {"rabbitmq", "s3"}} == {SERVERS}


def test_every_group_and_every_file_that_is_named_is_there(collected: dict[str, set[str]]) -> None:
    files = {Path(item.partition("::")[0]).name for item in collected}

    assert files >= GROUPS.keys()
    assert {group_of(item) for item in collected} >= {*FIRST, HOST, SERVERS}


def test_a_group_is_run_by_one_process_and_the_longest_begin_first(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for name in ("test_drain", "test_secrets", "test_other", "test_more", "test_compose"):
        (tmp_path / f"{name}.py").write_text(TESTS.format(log=str(log), name=name))

    pytest_says(
        *("-q", "-p", "tests.conftest", "-n", "2", "--dist", "loadscope", "--no-loadscope-reorder"), str(tmp_path)
    )

    ran = [line.split(" ") for line in log.read_text().splitlines()]
    processes = {name: {process for one, process in ran if one == name} for name, _ in ran}
    assert len(ran) == 20
    assert all(len(several) == 1 for several in processes.values()), processes
    assert processes["test_drain"] == processes["test_secrets"]
    assert {ran[0][0], ran[1][0]} == {"test_compose", "test_drain"}
