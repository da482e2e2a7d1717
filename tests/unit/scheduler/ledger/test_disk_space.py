"""Whether the ledger's disk has room."""

from __future__ import annotations

from pathlib import Path

import pytest

from alts.shared.errors import LedgerUnavailable
from scheduler.ledger.disk_space import Room
from tests.support.scheduler_parts import HandClock


def test_a_full_disk_is_told_with_what_is_needed_and_forgotten_once_it_has_room(tmp_path: Path) -> None:
    free, clock = [3 << 20], HandClock()
    room = Room(tmp_path, needed_mb=32, free=lambda _folder: free[0], clock=clock)

    with pytest.raises(LedgerUnavailable, match=r"3 MB are free at .*, 32 MB are required"):
        room.check()

    free[0] = 32 << 20
    clock.pass_by(1.1)
    room.check()


def test_it_is_not_looked_at_for_every_task(tmp_path: Path) -> None:
    looks: list[Path] = []
    clock = HandClock()

    def free(folder: Path) -> int:
        looks.append(folder)
        return 1 << 40

    room = Room(tmp_path, free=free, clock=clock)
    for _ in range(100):
        room.check()
    clock.pass_by(1.1)
    room.check()

    assert looks == [tmp_path, tmp_path]


def test_a_folder_that_is_gone_has_no_room(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable, match="cannot read the free space"):
        Room(tmp_path / "gone").check()


def test_a_ledger_that_is_elsewhere_has_all_the_room(tmp_path: Path) -> None:
    Room(None).check()
