"""The log of a stage."""

from __future__ import annotations

from alts.core.output import BoundedOutput

LOG_HEAD = 4_000_000
"""Characters kept of the beginning of a stage's log."""
LOG_TAIL = 1_000_000
"""Characters kept of its end."""


class StageLog:
    """The commands of a stage and their output, cut in the middle if long. It becomes an artifact."""

    def __init__(self) -> None:
        self._output = BoundedOutput(head_limit=LOG_HEAD, tail_limit=LOG_TAIL)

    def write(self, text: str) -> None:
        """Add output as it arrives; it need not end with a line."""
        self._output.write(text)

    def line(self, text: str) -> None:
        """Add `text` and the end of the line."""
        self.write(f"{text}\n")

    def text(self) -> str:
        """Return the log so far."""
        return self._output.text()
