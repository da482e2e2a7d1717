"""What must not be in two processes at once is in one group."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from tests.groups import FIRST, rank

ROOT = Path(__file__).parents[2]
# Prints every item's group, as a process of pytest-xdist would have it, and the fixtures that it asks for.
PLUGIN = """
import pytest
from tests.groups import in_groups

@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    for item in in_groups(items):
        marker = item.get_closest_marker("xdist_group")
        print("GROUP", marker.args[0], item.path.name, ",".join(item.fixturenames))
"""


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str, set[str]]]:
    """Group, file and fixtures of every test that there is, in the order in which they begin."""
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "show_groups.py").write_text(PLUGIN)
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "show_groups", "-p", "no:cacheprovider"]
    done = subprocess.run(
        command, cwd=ROOT, env={**_environment(), "PYTHONPATH": str(folder)}, capture_output=True, text=True, check=True
    )
    words = [line.split(" ") for line in done.stdout.splitlines() if line.startswith("GROUP ")]
    return [(group, file, set(fixtures.split(","))) for _, group, file, fixtures in words]


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}


@pytest.mark.parametrize("server", ["rabbitmq", "s3"])
def test_a_private_server_is_started_by_one_process(collected: list[tuple[str, str, set[str]]], server: str) -> None:
    assert {group for group, _, fixtures in collected if server in fixtures} == {"services"}


def test_a_file_whose_fixtures_are_costly_is_in_one_group(collected: list[tuple[str, str, set[str]]]) -> None:
    groups = defaultdict(set)
    for group, file, _ in collected:
        groups[file].add(group)

    split = {file for file, several in groups.items() if len(several) > 1}
    # Those that have some tests with the private servers, and others without.
    assert not {file for file in split if not groups[file] & {"services", "postgresql"}}


def test_two_that_make_the_same_address_do_not_meet(collected: list[tuple[str, str, set[str]]]) -> None:
    files = ("test_docker_seal.py", "test_hostile.py")

    assert {group for group, file, _ in collected if file in files} == {"hostile"}


def test_the_longest_begin_first(collected: list[tuple[str, str, set[str]]]) -> None:
    ranks = [rank(group) for group, _, _ in collected]

    assert ranks == sorted(ranks)
    assert set(FIRST) <= {group for group, _, _ in collected}
