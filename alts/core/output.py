"""The output of a running command, kept within a bound."""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Callable

OutputSink = Callable[[str], None]
"""Receives a command's output as it arrives, in pieces of any size."""

HEAD_LIMIT = 1_000_000
"""Characters kept of the beginning of an output."""
TAIL_LIMIT = 1_000_000
"""Characters kept of its end."""


class BoundedOutput:
    """Keep the first `head_limit` and the last `tail_limit` characters of an output of any length.

    The text has a line between the two that says how many characters were left out. `sink` receives all output.
    """

    def __init__(
        self, sink: OutputSink | None = None, *, head_limit: int = HEAD_LIMIT, tail_limit: int = TAIL_LIMIT
    ) -> None:
        self._sink = sink
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._head: list[str] = []
        self._head_room = head_limit
        self._tail: deque[str] = deque()
        self._tail_size = 0
        self._tail_limit = tail_limit
        self._left_out = 0

    def feed(self, data: bytes) -> None:
        """Add bytes of UTF-8. A character may be split between two calls; invalid bytes become U+FFFD."""
        self.write(self._decoder.decode(data))

    def write(self, text: str) -> None:
        """Add text, and pass it to the sink."""
        if not text:
            return
        if self._sink is not None:
            self._sink(text)
        if self._head_room:
            self._head.append(text[: self._head_room])
            text, self._head_room = text[self._head_room :], self._head_room - len(self._head[-1])
        if text:
            self._add_to_tail(text)

    def _add_to_tail(self, text: str) -> None:
        self._tail.append(text)
        self._tail_size += len(text)
        while self._tail_size - len(self._tail[0]) >= self._tail_limit:
            self._left_out += len(self._tail[0])
            self._tail_size -= len(self._tail.popleft())

    def text(self) -> str:
        """Return the output so far, cut in the middle if it is longer than both limits together."""
        tail = "".join(self._tail)
        extra = max(0, len(tail) - self._tail_limit)
        left_out = self._left_out + extra
        middle = f"\n[... {left_out} characters left out ...]\n" if left_out else ""
        return "".join(self._head) + middle + tail[extra:]
