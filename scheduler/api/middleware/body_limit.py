"""Limits on the size, duration and number of request bodies, as ASGI middleware.

By hand: neither Starlette nor uvicorn limits bodies, and there is no maintained ASGI library for it.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import AbstractAsyncContextManager, nullcontext

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from alts.shared.auth.tokens import Caller
from alts.shared.bounds import LARGEST_REPORT
from alts.shared.errors import SchedulerBusy
from scheduler.admission.rate_limit import RateLimit
from scheduler.api.errors import answer_to
from scheduler.api.middleware.body_places import Places

CALLER_LIMIT = 1 << 20
# A report has the findings of every stage. The margin is for workers of other versions, which may add blanks.
WORKER_LIMIT = LARGEST_REPORT + (1 << 20)
WORKER_PREFIX = "/worker/"
# A line of 1 Mbit/s carries 3 MiB in that time. A body that arrives byte by byte would hold its connection.
BODY_SECONDS = 30.0

SMALL = 32 << 10
"""Bytes. Smaller bodies need no place: uvicorn itself buffers twice as much per connection (its flow_control.py)."""
PLACES = 8
"""Number of large bodies in memory at once, counted for callers and for workers separately."""
PLACES_EACH = 2
# Shorter than a worker's own timeout: see alts.client.worker_api.
PATIENCE = 5.0  # seconds, for a place

_TOO_LARGE = "the body is too large: at most {} bytes are accepted"


class BodyLimit:
    """Reads the whole body before the application sees the request.

    Answers 413 if the body is over the limit, 408 if it does not arrive in time, and 503 if there are too many large
    bodies already. The rate limit counts the bytes that were read, whatever the response.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        rate_limit: RateLimit,
        limit: int = CALLER_LIMIT,
        worker_limit: int = WORKER_LIMIT,
        seconds: float = BODY_SECONDS,
        patience: float = PATIENCE,
    ) -> None:
        """`limit`, `worker_limit`: bytes. `seconds`: time limit of a body. `patience`: seconds to wait for a place."""
        self._app = app
        self._rate_limit = rate_limit
        self._limit = limit
        self._worker_limit = worker_limit
        self._seconds = seconds
        self._places = Places(PLACES, each=PLACES_EACH, patience=patience)
        self._worker_places = Places(PLACES, each=PLACES_EACH, patience=patience)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # The server discards the body of a GET request.
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        of_worker = scope["path"].startswith(WORKER_PREFIX)
        limit = self._worker_limit if of_worker else self._limit
        announced = _announced(scope)
        if announced is not None and announced > limit:
            await _refuse(send, 413, _TOO_LARGE.format(limit))
            return
        caller: Caller = scope["state"]["caller"]
        payer = None if of_worker or caller.is_admin else caller.email
        # Charged before reading, so that the gate refuses further requests of this caller meanwhile.
        self._charge(payer, announced or 0)
        metered = _Metered(receive)
        try:
            async with self._place(caller.email, announced, of_worker=of_worker):
                await self._read_and_answer(scope, metered, send, limit)
        except SchedulerBusy as error:
            answer = answer_to(error)
            answer.headers["Connection"] = "close"
            await answer(scope, receive, send)
        finally:
            self._charge(payer, metered.size - (announced or 0))

    def _charge(self, payer: str | None, size: int) -> None:
        if payer is not None and size > 0:
            self._rate_limit.charge_body(payer, size)

    def _place(self, holder: str, announced: int | None, *, of_worker: bool) -> AbstractAsyncContextManager[None]:
        """A body of unknown length needs a place, because it may reach the limit."""
        if announced is not None and announced <= SMALL:
            return nullcontext()
        return (self._worker_places if of_worker else self._places).place(holder)

    async def _read_and_answer(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                first = await _whole_body(receive, limit)
        except TimeoutError:
            await _refuse(send, 408, f"the body did not arrive within {self._seconds:g} s")
            return
        if first is None:
            await _refuse(send, 413, _TOO_LARGE.format(limit))
            return
        messages = [first]

        async def replay() -> Message:
            return messages.pop() if messages else await receive()

        await self._app(scope, replay, send)


class _Metered:
    """An ASGI receive function that counts the bytes of the body."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.size = 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self.size += len(message.get("body", b""))
        return message


def _announced(scope: Scope) -> int | None:
    """The Content-Length; None for a chunked body. The server refuses requests that have both."""
    headers = dict(scope["headers"])
    if b"transfer-encoding" in headers:
        return None
    length: bytes = headers.get(b"content-length", b"")
    return int(length[:20]) if length.isdigit() else 0


async def _whole_body(receive: Receive, limit: int) -> Message | None:
    """Receive the body as one message; None if it is over the limit."""
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
    # The rest of the body would be read as the next request.
    headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
