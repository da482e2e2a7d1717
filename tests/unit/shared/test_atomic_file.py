"""Files that are whole or not there, and what failures leave."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from alts.shared.atomic_file import move_into_place, remove_drafts, write_atomically


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_is_made_and_replaced(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "file"

    write_atomically(path, b"a longer first content", durable=durable)
    write_atomically(path, b"second", durable=durable)

    assert path.read_bytes() == b"second"
    assert list(tmp_path.iterdir()) == [path]


def test_the_mode_is_as_asked_less_the_umask(tmp_path: Path) -> None:
    previous = os.umask(0o027)
    try:
        write_atomically(tmp_path / "plain", b"", durable=False)
        write_atomically(tmp_path / "script", b"", durable=False, mode=0o755)
    finally:
        os.umask(previous)

    assert stat.S_IMODE((tmp_path / "plain").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "script").stat().st_mode) == 0o750


def test_a_failure_leaves_no_draft(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "in the way").touch()

    with pytest.raises(OSError, match="folder"):
        write_atomically(tmp_path / "folder", b"", durable=False)

    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "no such folder" / "file", b"", durable=False)


def test_readers_and_writers_at_once_see_whole_contents(tmp_path: Path) -> None:
    path = tmp_path / "file"
    contents = [bytes([number]) * 100_000 for number in range(4)]
    write_atomically(path, contents[0], durable=False)

    def write(content: bytes) -> None:
        for _ in range(20):
            write_atomically(path, content, durable=False)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert path.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [path]


def test_a_finished_draft_is_moved(tmp_path: Path) -> None:
    (tmp_path / "draft").write_bytes(b"content")
    (tmp_path / "file").write_bytes(b"before")

    move_into_place(tmp_path / "draft", tmp_path / "file", durable=True)

    assert (tmp_path / "file").read_bytes() == b"content"
    assert not (tmp_path / "draft").exists()


def test_drafts_of_killed_writers_can_be_removed(tmp_path: Path) -> None:
    (tmp_path / ".file.12345678.draft").touch()
    (tmp_path / "file").touch()

    remove_drafts(tmp_path)
    remove_drafts(tmp_path / "no such folder")

    assert [path.name for path in tmp_path.iterdir()] == ["file"]
