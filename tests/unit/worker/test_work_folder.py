"""Slots, identities, and the leftovers of dead workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from alts.worker.work_folder import WorkFolder

HOLD_A_SLOT = """
import pathlib, sys, time
from alts.worker.work_folder import WorkFolder
folder = WorkFolder(pathlib.Path(sys.argv[1]))
(folder.path / "tasks" / "left-1").mkdir(parents=True)
print(folder.identity, flush=True)
time.sleep(60)
"""


def test_two_workers_on_one_host_have_a_slot_each(tmp_path: Path) -> None:
    first, second = WorkFolder(tmp_path), WorkFolder(tmp_path)

    assert first.path != second.path
    assert first.identity != second.identity


def test_a_slot_keeps_its_identity_for_the_next_holder(tmp_path: Path) -> None:
    first = WorkFolder(tmp_path)
    first.close()

    assert WorkFolder(tmp_path).identity == first.identity


def test_an_attempt_s_folder_is_empty_and_gone_afterwards(tmp_path: Path) -> None:
    folder = WorkFolder(tmp_path)
    (folder.path / "tasks" / "t-1" / "old").mkdir(parents=True)

    with folder.attempt("t", 1) as path:
        assert list(path.iterdir()) == []

    assert not path.exists()


def test_an_attempt_s_folder_is_gone_after_a_fault(tmp_path: Path) -> None:
    folder = WorkFolder(tmp_path)

    def work() -> Path:
        with folder.attempt("t", 1) as path:
            (path / "state").write_text("half")
            raise RuntimeError(path)

    with pytest.raises(RuntimeError) as raised:
        work()

    assert not Path(raised.value.args[0]).exists()


def test_only_the_dead_are_named_and_their_folders_emptied(tmp_path: Path) -> None:
    mine, alive = WorkFolder(tmp_path), WorkFolder(tmp_path)
    (alive.path / "tasks" / "busy-1").mkdir(parents=True)
    holder = subprocess.Popen([sys.executable, "-c", HOLD_A_SLOT, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        identity = holder.stdout.readline().strip()
    finally:
        holder.kill()
        holder.communicate()

    with mine.dead() as slots:
        assert [slot.identity for slot in slots] == [identity]

    assert not list(tmp_path.glob("*/tasks/left-1"))
    assert list(tmp_path.glob("*/tasks/busy-1"))


def test_closing_leaves_no_work_behind(tmp_path: Path) -> None:
    folder = WorkFolder(tmp_path)
    folder.reset()
    folder.close()

    assert sorted(path.name for path in tmp_path.rglob("*")) == ["1", "1.lock", "identity"]


@pytest.mark.parametrize("way", ["taken over", "looked at by a neighbour"])
def test_what_a_dead_worker_has_left_running_is_ended_and_nobody_else(tmp_path: Path, way: str) -> None:
    work = tmp_path / "work"
    homes = {
        "ansible": work / "1" / "tasks" / "t-1" / "ansible-x" / "home",
        "neighbour": work / "2" / "tasks" / "t-1",
        "stranger": tmp_path / "work1" / "tasks" / "t-1",
    }
    left = {name: subprocess.Popen(["sleep", "60"], env={"HOME": str(home)}) for name, home in homes.items()}
    try:
        dead = WorkFolder(work)
        if way == "taken over":
            dead.reset()
        else:
            living = WorkFolder(work)
            os.close(dead._lock)
            with living.dead() as slots:
                assert [slot.identity for slot in slots] == [dead.identity]

        assert left.pop("ansible").wait(10) == -signal.SIGKILL
        assert [process.poll() for process in left.values()] == [None, None]
    finally:
        for process in left.values():
            process.kill()
            process.wait()
