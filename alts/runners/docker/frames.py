"""Parser for the Docker attach stream, which multiplexes stdout and stderr over one connection. Pure.

Each frame has a header of 8 bytes, the stream's number and the payload's length as a big-endian 32-bit number:
https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach

By hand: the SDK's own reader, docker.utils.socket, waits for data without a timeout, so a stop could not interrupt it.
"""

from __future__ import annotations

import struct

STDOUT = 1
_HEADER = struct.Struct(">BxxxL")


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
