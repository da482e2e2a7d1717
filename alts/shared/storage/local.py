"""Artifacts in a local folder, the store of an embedded service."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from alts.shared.atomic_file import write_atomically
from alts.shared.errors import StorageUnavailable


class FolderStore:
    """An alts.shared.storage.base.ArtifactStore with one file per key below `folder`, readable by its owner alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()

    def put(self, key: str, content: bytes, *, content_type: str = "") -> None:  # noqa: ARG002 - a file has no type
        """See ArtifactStore. Raises ValueError for a key that leads out of the folder."""
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content, durable=False, mode=0o600)
        except OSError as error:
            raise StorageUnavailable(f"cannot write {path}: {error.strerror}") from error

    def get(self, key: str) -> bytes:
        """See ArtifactStore. Raises ValueError for a key that leads out of the folder."""
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError:
            raise KeyError(key) from None
        except OSError as error:
            raise StorageUnavailable(f"cannot read {key}: {error.strerror}") from error

    def location(self, key: str) -> str:
        """Return a file:// URL."""
        return self._path(key).as_uri()

    def check(self) -> None:
        """Make the folder if needed, and check that it is writable. Raises StorageUnavailable."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageUnavailable(f"cannot make {self._folder}: {error.strerror}") from error
        if not os.access(self._folder, os.W_OK):
            raise StorageUnavailable(f"cannot write below {self._folder}")

    def _path(self, key: str) -> Path:
        if ".." in PurePosixPath(key).parts:
            raise ValueError(f"not a key: {key}")
        return self._folder / key.lstrip("/")
