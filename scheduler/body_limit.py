"""A limit for the size of request bodies, and for the time that they take, as ASGI middleware."""

from __future__ import annotations

import asyncio
import json

from starlette.types import ASGIApp, Message, Receive, Scope, Send

CALLER_LIMIT = 1 << 20
# A report carries the findings of every stage; workers are trusted with more.
WORKER_LIMIT = 16 << 20
WORKER_PREFIX = "/worker/"
# 16 MiB in half a minute is what a line of 5 Mbit/s carries. A body that comes byte by byte holds a connection.
BODY_SECONDS = 30.0


class BodyLimit:
    """Reads a body whole before the application sees it.

    Answers 413 where it is over the limit, in bytes, and 408 where it is not here in time.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        limit: int = CALLER_LIMIT,
        worker_limit: int = WORKER_LIMIT,
        seconds: float = BODY_SECONDS,
    ) -> None:
        self._app = app
        self._limit = limit
        self._worker_limit = worker_limit
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # A body that comes with GET is nobody's: the server throws it away.
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        limit = self._worker_limit if scope["path"].startswith(WORKER_PREFIX) else self._limit
        try:
            async with asyncio.timeout(self._seconds):
                first = await _whole_body(receive, limit) if _announced(scope) <= limit else None
        except TimeoutError:
            await _refuse(send, 408, f"the body was not here within {self._seconds:g} s")
            return
        if first is None:
            await _refuse(send, 413, f"the body is too large: at most {limit} bytes are accepted")
            return
        messages = [first]

        async def replay() -> Message:
            return messages.pop() if messages else await receive()

        await self._app(scope, replay, send)


def _announced(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value[:20])
    return 0


async def _whole_body(receive: Receive, limit: int) -> Message | None:
    """One message with the whole body, or None where that is over the limit."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return message
        body += message.get("body", b"")
        if len(body) > limit:
            return None
        if not message.get("more_body", False):
            return {"type": "http.request", "body": bytes(body), "more_body": False}


async def _refuse(send: Send, status: int, detail: str) -> None:
    content = json.dumps({"detail": detail}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    # What is left of the body would be taken for the next request.
    headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
