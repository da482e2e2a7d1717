"""A finished command, and the bounded output of one that is running."""

from __future__ import annotations

import codecs
import shlex
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from alts.core.stop import StopReason

OutputSink = Callable[[str], None]
"""Takes a command's output as it comes, in pieces of any size."""

HEAD_LIMIT = 1_000_000
TAIL_LIMIT = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Completed:
    """A command that has ended, by itself or by a Stop."""

    argv: tuple[str, ...]
    exit_code: int | None
    """None where the command was killed because its Stop said so."""
    output: str
    """Standard output and error as they came, cut in the middle when long."""
    seconds: float
    stopped: StopReason | None = None

    @property
    def ok(self) -> bool:
        return self.exit_code == 0

    def tail(self, lines: int = 20) -> str:
        """The last lines of the output."""
        return "\n".join(self.output.rstrip().splitlines()[-lines:])


class BoundedOutput:
    """Keeps the beginning and the end of an output of any length, as text.

    `limit` characters at either end are kept; a line says how much was left out in between.
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
        self.write(self._decoder.decode(data))

    def write(self, text: str) -> None:
        if not text:
            return
        if self._sink is not None:
            self._sink(text)
        if self._head_room:
            self._head.append(text[: self._head_room])
            text, self._head_room = text[self._head_room :], self._head_room - len(self._head[-1])
        if text:
            self._tail.append(text)
            self._tail_size += len(text)
            while self._tail_size - len(self._tail[0]) >= self._tail_limit:
                self._left_out += len(self._tail[0])
                self._tail_size -= len(self._tail.popleft())

    def text(self) -> str:
        tail = "".join(self._tail)
        extra = max(0, len(tail) - self._tail_limit)
        left_out = self._left_out + extra
        middle = f"\n[... {left_out} characters left out ...]\n" if left_out else ""
        return "".join(self._head) + middle + tail[extra:]


def shown(argv: Sequence[str]) -> str:
    """An argv as a reader of a log would type it."""
    return shlex.join(argv)
