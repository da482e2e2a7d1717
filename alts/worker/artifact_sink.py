"""Interface of a place that takes artifacts at any time and stores them later."""

from __future__ import annotations

from typing import Protocol

# Seconds to wait for uploads before the verdict is reported, so that its logs can be read at once. A slow store does
# not delay the verdict further.
SETTLE_SECONDS = 5.0


class ArtifactSink(Protocol):
    """Takes artifacts and stores those of one group in order. Implemented by alts.worker.spool."""

    def put(
        self, key: str, content: bytes, *, content_type: str = "text/plain; charset=utf-8", group: str = ""
    ) -> None:
        """Take an artifact. `group` defaults to the task and attempt in the key (alts.shared.storage.base.group_of).

        Raises StorageUnavailable if there is no room for it.
        """

    def location(self, key: str) -> str:
        """Return the artifact's address, valid once it is stored."""

    def settle(self, group: str, *, seconds: float) -> bool:
        """Wait up to `seconds` until the group is stored. Returns whether it is."""
