"""A shell that stays open in a container and runs one command after another.

By hand: a docker exec costs the engine about 50 ms of processor time, a command of an open shell one.
"""

from __future__ import annotations

import secrets
import shlex
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from alts.core.stop import Stop, StopReason
from alts.runners.docker.exec import Command, ExecApi
from alts.runners.docker.frames import MarkedOutput

_LONGEST = 30_000  # bytes of a script: bash reads its standard input byte by byte
_BEGIN_SECONDS = 5.0  # for the shell to start a command; a stopped shell never does


class ShellLost(Exception):  # noqa: N818 - what happened
    """The shell cannot run the command, or has ended before the command did."""


class Shell:
    """One shell in a container, opened when it is needed and again after it was lost."""

    def __init__(
        self, client: ExecApi, container: str, *, prefix: Sequence[str], errors: tuple[type[Exception], ...]
    ) -> None:
        """`prefix`: a wrapper program that executes the shell. `errors`: exception types that the client raises."""
        self._client = client
        self._container = container
        self._argv = (*prefix, "/bin/sh")
        self.errors = errors
        self._lock = threading.Lock()
        self._command: Command | None = None
        self._answer: MarkedOutput | None = None

    def command(self, argv: Sequence[str], *, env: Mapping[str, str], take: Callable[[bytes], object]) -> ShellCommand:
        """Return a command to run in a `with` block. `take` receives its output: stdout and stderr in one stream."""
        return ShellCommand(self, argv, env=env, take=take)

    def close(self) -> None:
        """End the shell's connection, which ends the shell. The next command opens another one."""
        command, self._command, self._answer = self._command, None, None
        if command is not None:
            command.__exit__(None, None, None)

    def begin(self, script: bytes, answer: MarkedOutput) -> Command:
        """Give a script to the shell. It is the caller's until end().

        Raises ShellLost if it runs another command or cannot be opened.
        """
        if not self._lock.acquire(blocking=False):
            raise ShellLost("it runs another command")
        try:
            self._answer = answer
            if self._command is None:
                opened = Command(
                    self._client,
                    self._container,
                    self._argv,
                    env={},
                    take=self._take,
                    errors=self.errors,
                    has_input=True,
                )
                self._command = opened.__enter__()
            self._command.send(script)
        except self.errors as error:
            self.end(keep=False)
            raise ShellLost(str(error)) from error
        return self._command

    def end(self, *, keep: bool) -> None:
        """Hand the shell back. `keep`: the next command may use it; otherwise it is closed."""
        self._answer = None
        if not keep:
            self.close()
        self._lock.release()

    def _take(self, data: bytes) -> None:
        # Between two commands nobody listens: what a package's process writes there belongs to no command.
        if self._answer is not None:
            self._answer.feed(data)


class ShellCommand:
    """One command in the shell, with the interface of alts.runners.docker.exec.Command."""

    def __init__(
        self, shell: Shell, argv: Sequence[str], *, env: Mapping[str, str], take: Callable[[bytes], object]
    ) -> None:
        self._shell = shell
        mark = secrets.token_hex(16)
        self._script = _script(argv, env, mark)
        self._answer = MarkedOutput(mark, take)
        self._command: Command | None = None

    def __enter__(self) -> ShellCommand:
        if len(self._script) > _LONGEST:
            raise ShellLost("the command is too long")
        self._command = self._shell.begin(self._script, self._answer)
        return self

    def __exit__(self, *exc_info: object) -> None:
        # A shell whose command has not ended is of no further use.
        if self._command is not None:
            self._shell.end(keep=self.started)

    @property
    def started(self) -> bool:
        """Whether the command has run to its end."""
        return self._answer.exit_code is not None

    @property
    def killing(self) -> bool:
        """Whether the kill has begun."""
        return self._command is not None and self._command.killing

    def attend(self, stop: Stop, *, too_much: Callable[[], bool]) -> tuple[StopReason | None, int | None]:
        """Read the output until the command ends or `stop` is set, see Command.attend().

        Raises ShellLost if the shell ends before, or does not start the command.
        """
        if self._command is None:
            raise ShellLost("the command was not given to it")
        begin_until = time.monotonic() + _BEGIN_SECONDS

        def heard() -> bool:
            return self.started or (not self._answer.begun and time.monotonic() > begin_until)

        try:
            reason, ended = self._command.attend(stop, too_much=too_much, heard=heard)
        except self._shell.errors as error:
            if self.killing:
                raise
            raise ShellLost(str(error)) from error
        if self.started:
            return None, self._answer.exit_code
        if ended is not None or not self._answer.begun:
            raise ShellLost(
                f"it ended with exit code {ended}" if ended is not None else "it does not start the command"
            )
        return reason, None


def _script(argv: Sequence[str], env: Mapping[str, str], mark: str) -> bytes:
    exports = "".join(f"export {name}={shlex.quote(value)}; " for name, value in env.items())
    return (
        f"printf '%s\\n' {mark}\n({exports}exec {shlex.join(argv)}) </dev/null\nprintf '\\n%s %d\\n' {mark} \"$?\"\n"
    ).encode(errors="replace")
