"""The interface of artifact stores, and the keys: `<root>/<task_id>/<attempt>/<name>`. report.json is written last."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Protocol

REPORT_NAME = "report.json"
STATE_NAME = "state.json"
"""All changes on the machine. The report has a shortened form."""
JUNIT_NAME = "report.junit.xml"
TAP_NAME = "report.tap"


class ArtifactStore(Protocol):
    """Stores files by key. Every call may raise StorageUnavailable."""

    def put(self, key: str, content: bytes, *, content_type: str = "text/plain; charset=utf-8") -> None:
        """Create or replace the content of the key. Readers see it whole or not at all."""

    def get(self, key: str) -> bytes:
        """Return the stored content. Raises KeyError if there is none."""

    def location(self, key: str) -> str:
        """Return the key's address, e.g. "s3://alts/artifacts/<task_id>/1/install.log", whether it exists or not."""

    def check(self) -> None:
        """Check that the store works. Raises StorageUnavailable if it cannot be reached."""


def artifact_key(root: str, task_id: str, attempt: int, name: str) -> str:
    """Return the key of an attempt's artifact, e.g. "artifacts/<task_id>/1/install.log"."""
    return str(PurePosixPath(root.strip("/"), task_id, str(attempt), name))


def group_of(key: str) -> str:
    """Return task id and attempt of an artifact's key, e.g. "<task id>-1"; "-" for a key with neither."""
    return "-".join(PurePosixPath(key).parts[-3:-1]) or "-"
