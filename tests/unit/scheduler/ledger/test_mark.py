"""The mark of a ledger: the crashes that it survives, and that it is never ahead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from alts.shared.errors import ConfigurationError
from scheduler.ledger.mark import Mark, MarkFile
from tests.support.checkout import ROOT

LEDGER = "3f2a9c1e-0000-4000-8000-000000000001"


@contextmanager
def a_mark_file(folder: Path, *, boot: str = "monday", in_order: bool = True) -> Iterator[MarkFile]:
    file = MarkFile(folder / "state" / "ledger.mark", clock=lambda: 1000.0, boot=lambda: boot)
    try:
        yield file
    finally:
        file.close(in_order=in_order)


def what_is_left(folder: Path) -> Mark | None:
    with a_mark_file(folder) as file:
        return file.read()


def test_nothing_is_known_before_the_first_start(tmp_path: Path) -> None:
    assert what_is_left(tmp_path) is None


def test_an_end_in_order_is_told_from_another_one(tmp_path: Path) -> None:
    with a_mark_file(tmp_path, in_order=False) as file:
        file.open(ledger=LEDGER, highest=7)
        file.advance(8)
    assert what_is_left(tmp_path) == Mark(ledger=LEDGER, highest=8, at=1000.0, boot="monday")

    with a_mark_file(tmp_path, boot="tuesday") as file:
        file.open(ledger=LEDGER, highest=8)
    assert what_is_left(tmp_path) == Mark(ledger=LEDGER, highest=8, at=1000.0, boot=None)


def test_it_only_grows_whatever_the_order_of_the_commits(tmp_path: Path) -> None:
    with a_mark_file(tmp_path) as file, a_mark_file(tmp_path) as other:
        file.open(ledger=LEDGER, highest=0)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda entry: (file, other)[entry % 2].advance(entry), [*range(100, 0, -1), *range(200)]))

        assert (mark := file.read()) is not None
        assert mark.highest == 199


@pytest.mark.parametrize("slot", [0, 1])
@pytest.mark.parametrize("harm", [b"", b"\0" * 512, b"\xff" * 40], ids=["cut off", "zeros", "torn"])
def test_a_write_that_is_cut_off_leaves_the_one_before(tmp_path: Path, slot: int, harm: bytes) -> None:
    path = tmp_path / "state" / "ledger.mark"
    with a_mark_file(tmp_path, in_order=False) as file:
        file.open(ledger=LEDGER, highest=1)
        for entry in range(2, 10):
            file.advance(entry)
    content = bytearray(path.read_bytes())
    content[slot * 512 : slot * 512 + (len(harm) or 512)] = harm or b" " * 512
    path.write_bytes(content)

    mark = what_is_left(tmp_path)

    assert mark is not None
    assert mark.highest in (8, 9)


def test_one_that_is_damaged_all_over_is_refused_by_its_name(tmp_path: Path) -> None:
    with a_mark_file(tmp_path) as file:
        file.open(ledger=LEDGER, highest=1)
    (tmp_path / "state" / "ledger.mark").write_bytes(os.urandom(1024))

    with pytest.raises(ConfigurationError, match=r"state_folder: .*ledger\.mark.* is damaged"):
        what_is_left(tmp_path)


def test_a_folder_that_cannot_be_made_is_the_operators_problem() -> None:
    with pytest.raises(ConfigurationError, match="state_folder"):
        MarkFile(Path(os.devnull) / "ledger.mark")


def test_what_was_committed_is_known_after_kill_9(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from scheduler.ledger.mark import MarkFile\n"
        "file = MarkFile(Path(sys.argv[1])); file.open(ledger=sys.argv[2], highest=0)\n"
        "for entry in range(1, 501): file.advance(entry)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    path = tmp_path / "state" / "ledger.mark"

    done = subprocess.run([sys.executable, "-c", program, str(path), LEDGER], cwd=ROOT, check=False)

    assert done.returncode == -signal.SIGKILL
    mark = what_is_left(tmp_path)
    assert mark is not None
    assert (mark.highest, mark.boot is None) == (500, False)


def test_a_closed_one_writes_into_nobodys_file(tmp_path: Path) -> None:
    with a_mark_file(tmp_path) as file:
        file.open(ledger=LEDGER, highest=1)
    other = tmp_path / "other"
    descriptors = [os.open(other, os.O_RDWR | os.O_CREAT) for _ in range(64)]

    file.advance(2)

    assert other.read_bytes() == b""
    for descriptor in descriptors:
        os.close(descriptor)
