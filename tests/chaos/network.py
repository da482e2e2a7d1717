"""A network that can be broken: one TCP proxy for each pair of a client and a server."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Coroutine
from contextlib import suppress
from enum import StrEnum
from types import TracebackType
from typing import Any, Self, TypeVar

Value = TypeVar("Value")

PIECE = 65_536
SLOW_SECONDS = (0.02, 0.2)


class Mode(StrEnum):
    """A link's treatment of its data."""

    PASS = "pass"
    CUT = "cut"
    """Every connection is reset, new ones too."""
    HANG = "hang"
    """No data gets through, and neither side is told. The held data goes on when the link is mended."""
    LOSE = "lose"
    """As HANG, but the held data is lost forever and its connections stay silent. Only new connections work again."""
    SWALLOW = "swallow"
    """Requests arrive. Instead of the answer the connection is reset."""
    SLOW = "slow"
    """Every piece is delayed."""
    REFUSE = "refuse"
    """Every HTTP request is answered with a 500."""


_ANSWER_500 = (
    b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    b"Content-Length: 83\r\n\r\n"
    b"<?xml version='1.0'?><Error><Code>InternalError</Code><Message>chaos</Message></Error>"
)


class Link:
    """One proxy. Clients connect to 127.0.0.1:`port`."""

    def __init__(self, name: str, upstream: int) -> None:
        self.name = name
        self.port = 0
        self._upstream = upstream
        self._mode = Mode.PASS
        self._changed = asyncio.Event()
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        await self.set(Mode.CUT)
        if self._server is not None:
            self._server.close()

    async def set(self, mode: Mode) -> None:
        if self._mode is Mode.LOSE:
            for connection in self._connections:
                connection.dead = True
        self._mode = mode
        self._changed.set()
        self._changed = asyncio.Event()
        if mode in (Mode.CUT, Mode.REFUSE):
            for connection in list(self._connections):
                connection.reset()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(reader, writer)
        self._connections.add(connection)
        try:
            await self._serve(connection)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass  # either side hung up, or the run is over
        finally:
            connection.reset()
            self._connections.discard(connection)

    async def _serve(self, connection: _Connection) -> None:
        await self._gate(connection)
        if self._mode is Mode.CUT:
            return
        if self._mode is Mode.REFUSE:
            await _refuse(connection)
            return
        upstream = await asyncio.open_connection("127.0.0.1", self._upstream)
        connection.upstream = upstream[1]
        ways = (
            asyncio.create_task(self._pump(connection, connection.reader, upstream[1], answers=False)),
            asyncio.create_task(self._pump(connection, upstream[0], connection.writer, answers=True)),
        )
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()

    async def _pump(
        self, connection: _Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(PIECE):
                await self._gate(connection)
                if answers and self._mode is Mode.SWALLOW:
                    return
                if self._mode is Mode.SLOW:
                    await asyncio.sleep(random.uniform(*SLOW_SECONDS))
                writer.write(data)
                await writer.drain()

    async def _gate(self, connection: _Connection) -> None:
        """Wait while no data gets through; wait forever on a lost connection."""
        while connection.dead or self._mode in (Mode.HANG, Mode.LOSE):
            await self._changed.wait()


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.upstream: asyncio.StreamWriter | None = None
        self.dead = False

    def reset(self) -> None:
        for writer in (self.writer, self.upstream):
            if writer is not None:
                writer.transport.abort()


async def _refuse(connection: _Connection) -> None:
    head = await connection.reader.readuntil(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:") and b"100-continue" not in head.lower():
            await connection.reader.readexactly(int(line.split(b":")[1]))
    connection.writer.write(_ANSWER_500)
    await connection.writer.drain()
    connection.writer.close()
    with suppress(OSError):
        await connection.writer.wait_closed()


class Network:
    """All links of a run, in a separate thread between `__enter__` and `__exit__`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)
        self._links: dict[str, Link] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for link in self._links.values():
            self._do(link.close())
        self._do(_end_tasks())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def link(self, name: str, upstream: int) -> int:
        """Return the port of a new link to that port of 127.0.0.1."""

        async def opened() -> Link:
            link = Link(name, upstream)
            await link.open()
            return link

        self._links[name] = self._do(opened())
        return self._links[name].port

    def set(self, name: str, mode: Mode) -> None:
        """Change the mode of a link."""
        self._do(self._links[name].set(mode))

    def heal(self) -> None:
        for name in self._links:
            self.set(name, Mode.PASS)

    def _do(self, work: Coroutine[Any, Any, Value]) -> Value:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)


async def _end_tasks() -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
