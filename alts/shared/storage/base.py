"""Where logs and reports are kept: keys `<root>/<task_id>/<attempt>/<name>`; report.json is written last."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Protocol

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
