"""Parsers of what a command in a container sends. Pure.

The Docker attach stream multiplexes stdout and stderr over one connection.

Each frame has a header of 8 bytes, the stream's number and the payload's length as a big-endian 32-bit number:
https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach

By hand: the SDK's own reader, docker.utils.socket, waits for data without a timeout, so a stop could not interrupt it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

STDOUT = 1
_HEADER = struct.Struct(">BxxxL")
_LONGEST_NUMBER = 3  # digits of an exit code


class FrameReader:
    """Incremental parser. Splits input of any chunk size into (stream number, payload)."""

    def __init__(self) -> None:
        self._header = b""
        self._stream = 0
        self._left = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Return the payloads in `data`. An incomplete payload is returned in parts, without delay."""
        parts = []
        while data:
            if not self._left:
                wanted = _HEADER.size - len(self._header)
                self._header, data = self._header + data[:wanted], data[wanted:]
                if len(self._header) == _HEADER.size:
                    self._stream, self._left = _HEADER.unpack(self._header)
                    self._header = b""
                continue
            part, data = data[: self._left], data[self._left :]
            self._left -= len(part)
            parts.append((self._stream, part))
        return parts


class FirstLine:
    """Splits the wrapper's first line (the process id) from the program's output."""

    def __init__(self) -> None:
        self._text = b""
        self._complete = False

    def feed(self, data: bytes) -> bytes:
        """Return the part of `data` after the first line."""
        if self._complete:
            return data
        line, newline, rest = (self._text + data).partition(b"\n")
        self._text = line
        self._complete = bool(newline)
        return rest

    @property
    def number(self) -> int | None:
        """The process id in the line; None if incomplete or not a number."""
        return int(self._text) if self._complete and self._text.isdigit() else None

    @property
    def foreign(self) -> bytes:
        """Text received instead of a process id, e.g. the engine's start error."""
        if self.number is not None:
            return b""
        return self._text + (b"\n" if self._complete else b"")


class MarkedOutput:
    """Splits one command's output and exit code from the output of the shell that ran it.

    The shell prints the mark in a line of its own before the command, and the mark with the exit code after it.
    """

    def __init__(self, mark: str, take: Callable[[bytes], object]) -> None:
        """`take` receives the command's output as it arrives."""
        self._begin = f"{mark}\n".encode()
        self._end = f"\n{mark} ".encode()
        self._take = take
        self._text = b""
        self.begun = False
        """Whether the shell has started the command."""
        self.exit_code: int | None = None
        """None until the command has ended."""

    def feed(self, data: bytes) -> None:
        """Add output of the shell, in chunks of any size."""
        self._text += data
        if not self.begun:
            _, found, rest = self._text.partition(self._begin)
            if not found:
                self._text = self._text[-len(self._begin) :]
                return
            self.begun, self._text = True, rest
        while self.exit_code is None:
            output, found, rest = self._text.partition(self._end)
            if not found:
                # The end of the text may be the beginning of the mark.
                keep = len(self._end) - 1
                self._take(self._text[:-keep])
                self._text = self._text[-keep:]
                return
            number, newline, _ = rest.partition(b"\n")
            if newline and number.isdigit() and len(number) <= _LONGEST_NUMBER:
                self._take(output)
                self.exit_code, self._text = int(number), b""
            elif newline or len(number) > _LONGEST_NUMBER:
                # The shell did not write this mark.
                self._take(output + self._end)
                self._text = rest
            else:
                return
