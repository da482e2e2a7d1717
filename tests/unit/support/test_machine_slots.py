"""The limit on simultaneous machines holds for all processes together."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkout import ROOT
from tests.support.machine_slots import MachineSlots

HOLDER = """
import sys
from pathlib import Path
from tests.support.machine_slots import MachineSlots

with MachineSlots(Path(sys.argv[1]), number=2).one(seconds=10):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_there_are_as_many_as_were_asked_for(tmp_path: Path) -> None:
    slots = MachineSlots(tmp_path / "slots", number=2)

    with slots.one(seconds=1), slots.one(seconds=1), pytest.raises(TimeoutError), slots.one(seconds=0):
        pass
    with slots.one(seconds=0), slots.one(seconds=0):
        pass


def test_other_processes_count_and_one_that_is_killed_does_no_more(tmp_path: Path) -> None:
    slots = MachineSlots(tmp_path / "slots", number=2)
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "slots")]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with slots.one(seconds=1), pytest.raises(TimeoutError), slots.one(seconds=0):
            pass
        holder.kill()
        holder.wait()

    with slots.one(seconds=1), slots.one(seconds=1):
        pass
