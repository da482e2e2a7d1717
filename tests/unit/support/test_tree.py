from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.tree import below


def test_all_that_is_below_a_folder_is_found(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").touch()

    assert set(below(tmp_path)) == {tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "file"}


def test_a_folder_that_goes_away_meanwhile_ends_nothing(tmp_path: Path) -> None:
    for name in ("here", "there"):
        (tmp_path / name / "deep").mkdir(parents=True)
    walk = below(tmp_path)

    seen = {next(walk)}
    shutil.rmtree(tmp_path / "here")
    seen |= set(walk)

    assert {tmp_path / "here", tmp_path / "there", tmp_path / "there" / "deep"} <= seen
