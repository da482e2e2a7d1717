"""The scripts behind `make setup`, without permission or without anything to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkout import ROOT
from tests.support.ports import free_ports

# The tools that the scripts use, without apt-get and without anything that may be missing.
LOOKING = ("sh", "id", "ls", "cat", "date", "grep", "mkdir", "tail", "uname")


def run(*argv: str, folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A PATH on which nothing is installed."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name in LOOKING:
        where = shutil.which(name)
        assert where is not None, name
        (commands / name).symlink_to(where)
    return commands


def packages(machine: Path, wanted: str) -> subprocess.CompletedProcess[str]:
    script = str(ROOT / "resources/host/packages.sh")
    return run(script, wanted, folder=machine.parent, env={"PATH": str(machine)})


def test_what_is_missing_is_said_in_a_line_each_where_it_cannot_be_installed(machine: Path) -> None:
    done = packages(machine, "test")

    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert all(line.startswith("missing: ") for line in lines)
    assert any("mmdebstrap" in line and "make base images" in line for line in lines)
    assert any("docker-compose" in line for line in lines)


@pytest.mark.parametrize(("wanted", "command"), [("run", "mmdebstrap"), ("engine", "dockerd")])
def test_nothing_is_said_or_done_where_nothing_is_missing(machine: Path, wanted: str, command: str) -> None:
    for name in (command, "cgroupfs-mount"):
        (machine / name).write_text("#!/bin/sh\nexit 1\n")
        (machine / name).chmod(0o755)

    done = packages(machine, wanted)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_unknown_set_of_packages_is_refused(machine: Path) -> None:
    assert packages(machine, "everything").returncode == 2


def test_an_engine_that_the_user_named_and_that_is_away_is_not_replaced_by_another(tmp_path: Path) -> None:
    (nobody,) = free_ports(1)
    env = {**os.environ, "DOCKER_HOST": f"tcp://127.0.0.1:{nobody}"}

    done = run(str(ROOT / "resources/host/engine.sh"), sys.executable, folder=tmp_path, env=env)

    assert done.returncode == 1
    assert "DOCKER_HOST" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_make_alone_lists_every_target() -> None:
    env = {"PATH": os.environ["PATH"]}

    listed = run("make", folder=ROOT, env=env).stdout

    for target in ("setup", "run", "test", "check", "token", "up", "down"):
        assert f"make {target} " in listed


def test_make_run_hands_its_settings_to_the_command() -> None:
    env = {"PATH": os.environ["PATH"]}

    shown = run("make", "-n", "run", "ONCE=1", "PORT=8123", "PACKAGE=sed", folder=ROOT, env=env).stdout

    assert "alts run --config configs/embedded.yaml --port '8123'" in shown
    assert "--package 'sed'" in shown
    assert "--once" in shown
