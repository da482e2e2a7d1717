"""Locks on files: their holders, and their loss."""

from __future__ import annotations

import os
from pathlib import Path

from alts.shared.file_lock import relock, try_lock


def test_one_holds_it_until_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    held = try_lock(path)
    assert held is not None

    assert try_lock(path) is None
    os.close(held)

    again = try_lock(path)
    assert again is not None
    os.close(again)


def test_many_share_it_and_none_has_it_alone_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first, second = try_lock(path, shared=True), try_lock(path, shared=True)
    assert first is not None
    assert second is not None

    assert try_lock(path) is None
    assert not relock(first, shared=False)
    assert relock(first, shared=True)
    os.close(second)

    assert relock(first, shared=False)
    assert try_lock(path, shared=True) is None
    os.close(first)
