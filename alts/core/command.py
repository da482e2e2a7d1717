"""A command that has ended."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from alts.core.stop import StopReason


@dataclass(frozen=True, kw_only=True)
class Completed:
    """A command that has ended by itself or was killed by its Stop."""

    argv: tuple[str, ...]
    exit_code: int | None
    """None if the command was killed by its Stop."""
    output: str
    """Standard output and standard error, interleaved as they arrived; cut in the middle if long."""
    seconds: float
    stopped: StopReason | None = None

    @property
    def ok(self) -> bool:
        """Whether the exit code is 0."""
        return self.exit_code == 0

    def tail(self, lines: int = 20) -> str:
        """Return the last lines of the output, without trailing blank ones."""
        return "\n".join(self.output.rstrip().splitlines()[-lines:])


def shown(argv: Sequence[str]) -> str:
    """Return argv quoted as for a shell: ["echo", "a b"] becomes "echo 'a b'"."""
    return shlex.join(argv)
