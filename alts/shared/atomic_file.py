"""Files that readers see whole or not at all: written as a draft in the same folder, then renamed (rename(2))."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path


def write_atomically(path: Path, content: bytes, *, durable: bool, mode: int = 0o666) -> None:
    """Create or replace the file at `path`. Any number of processes and threads may do so at once; the last one wins.

    `durable`: the file is on disk when this returns, so a power failure cannot take it back. `mode`: permission bits,
    less the umask.
    Raises OSError. The previous file then stays, unless only its folder could not be synced, and no draft is left. A
    killed process can leave one: remove_drafts, or in a folder that several processes share nobody, removes it.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        move_into_place(draft, path, durable=durable)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise


def move_into_place(draft: Path, path: Path, *, durable: bool) -> None:
    """Rename a finished draft to `path`, which must be on the same file system. `durable`: see write_atomically.

    Raises OSError.
    """
    if durable:
        with draft.open("rb") as file:
            os.fsync(file.fileno())
    draft.replace(path)
    if durable:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Write the folder's names to disk. fsync(2) of a new or renamed file does not do that. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_drafts(folder: Path) -> None:
    """Remove what killed writers left in `folder`: every hidden file. Nobody may write there meanwhile."""
    for draft in folder.glob(".*"):
        draft.unlink(missing_ok=True)
