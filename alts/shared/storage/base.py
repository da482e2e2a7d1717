"""Where logs and reports are kept: keys `<root>/<task_id>/<attempt>/<name>`; report.json is written last."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path, PurePosixPath
from typing import Protocol

from alts.shared.errors import StorageUnavailable

REPORT_NAME = "report.json"
STATE_NAME = "state.json"
"""All that has changed on the machine, of which the report tells in short."""
JUNIT_NAME = "report.junit.xml"
TAP_NAME = "report.tap"


class ArtifactStore(Protocol):
    """A store of files by key. Every call may raise StorageUnavailable."""

    def put(self, key: str, content: bytes, *, content_type: str = "text/plain; charset=utf-8") -> None:
        """Store the content whole or not at all; an older one of that key is replaced."""

    def get(self, key: str) -> bytes:
        """The stored content. Raises KeyError where there is none."""

    def location(self, key: str) -> str:
        """An address that says where the key is, such as "s3://alts/artifacts/<task_id>/1/install.log"."""

    def check(self) -> None:
        """Raises StorageUnavailable where the store cannot be reached."""


def artifact_key(root: str, task_id: str, attempt: int, name: str) -> str:
    """Such as "artifacts/<task_id>/1/install.log"."""
    return str(PurePosixPath(root.strip("/"), task_id, str(attempt), name))


def group_of(key: str) -> str:
    """The folder's last two names, which are task and attempt, such as "<task id>-1"."""
    return "-".join(PurePosixPath(key).parts[-3:-1]) or "-"


class FolderStore:
    """Artifacts in a local folder: the embedded default."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()

    def put(self, key: str, content: bytes, *, content_type: str = "") -> None:  # noqa: ARG002 - a file has no type
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Under another name first: a reader sees the old content or the new, never a part.
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=".")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                Path(name).replace(path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise StorageUnavailable(f"cannot write {path}: {error.strerror}") from error

    def get(self, key: str) -> bytes:
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError:
            raise KeyError(key) from None
        except OSError as error:
            raise StorageUnavailable(f"cannot read {key}: {error.strerror}") from error

    def location(self, key: str) -> str:
        return self._path(key).as_uri()

    def check(self) -> None:
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
