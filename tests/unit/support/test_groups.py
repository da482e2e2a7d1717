"""Tests that must not run in two processes at once are in one group."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkout import ROOT
from tests.support.groups import FIRST, GROUPS, HOST, SERVERS, group_of

# The ways in which a test, or a fixture of its file, asks for one of the private servers.
SERVER = re.compile(r"\b(?:rabbitmq: PrivateRabbitMQ|s3: PrivateS3)\b|getfixturevalue\(\"(?:rabbitmq|s3)\"\)")
FILES = [file for file in sorted((ROOT / "tests").glob("**/test_*.py")) if file.name != Path(__file__).name]
# Prints the process of every test. Each test takes a moment, so no process can have them all by chance.
TESTS = """
import os, time, pytest

@pytest.mark.parametrize("number", range(4))
def test_one(number):
    time.sleep(0.1)
    with open({log!r}, "a") as log:
        log.write(f"{name} {{os.environ['PYTEST_XDIST_WORKER']}}\\n")
"""


def test_every_file_that_asks_for_a_private_server_is_in_its_group() -> None:
    asking = {file.name for file in FILES if SERVER.search(file.read_text())}

    assert len(asking) > 5
    assert {group_of(f"tests/services/{name}::test") for name in asking} == {SERVERS}


def test_every_file_that_is_named_is_there() -> None:
    names = {file.name for file in FILES}

    assert names >= GROUPS.keys()
    assert names >= {*FIRST} - {HOST, SERVERS}


@pytest.mark.slow
def test_a_group_is_run_by_one_process_and_the_longest_begin_first(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for name in ("test_drain", "test_secrets", "test_other", "test_more", "test_hostile"):
        (tmp_path / f"{name}.py").write_text(TESTS.format(log=str(log), name=name))

    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.conftest", "-n", "2"]
    subprocess.run(
        [*command, "--dist", "loadscope", "--no-loadscope-reorder", str(tmp_path)],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        check=True,
    )

    ran = [line.split(" ") for line in log.read_text().splitlines()]
    processes = {name: {process for one, process in ran if one == name} for name, _ in ran}
    assert len(ran) == 20
    assert all(len(several) == 1 for several in processes.values()), processes
    assert processes["test_drain"] == processes["test_secrets"]
    assert {ran[0][0], ran[1][0]} == {"test_hostile", "test_drain"}
