"""Download of small files (e.g. repository keys) with limits on time, size and network address."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from contextlib import aclosing
from typing import Any

import httpx

from alts.core.stop import Stop, Stopped
from alts.host.dns import Resolve, addresses_of, look_up
from alts.shared.errors import RepositoryUnreachable
from alts.shared.network_rules import Address, NetworkRules

SIZE_LIMIT = 64_000  # bytes; the keyrings of distributions have less
TIME_LIMIT = 60.0  # seconds for one file, redirects included
_SILENCE = 15.0  # seconds without a byte until a timeout
_LOOK = 0.1  # seconds between checks of the Stop
_REDIRECTS = 20


def download(
    url: str,
    *,
    stop: Stop,
    rules: NetworkRules,
    size_limit: int = SIZE_LIMIT,
    time_limit: float = TIME_LIMIT,
    resolve: Resolve = addresses_of,
) -> bytes:
    """Download an http(s) URL, following redirects. Not for a thread that runs an event loop.

    Raises RepositoryUnreachable if the download fails, `rules` deny the address, the file exceeds `size_limit` bytes,
    is compressed, or takes longer than `time_limit` seconds; Stopped.
    """
    stop.check()
    limit = stop.within(time_limit)
    try:
        return asyncio.run(_until(limit, _fetch(url, limit, _Guarded(rules, resolve, limit), size_limit)))
    except Stopped:
        stop.check()
        raise RepositoryUnreachable(f"{url} takes longer than {time_limit:.0f} s") from None
    except httpx.HTTPStatusError as error:
        raise RepositoryUnreachable(f"{url} answered {error.response.status_code}") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise RepositoryUnreachable(
            f"{url} could not be fetched", details=f"{type(error).__name__}: {error}"
        ) from error


async def _until(limit: Stop, work: Coroutine[None, None, bytes]) -> bytes:
    """Return the work's result, or raise Stopped at any await, even if every byte restarts the read timeout."""
    task = asyncio.create_task(work)
    while not task.done():
        if limit.reason:
            task.cancel()
        await asyncio.wait({task}, timeout=_LOOK)
    if task.cancelled():
        limit.check()
    return task.result()


async def _fetch(url: str, limit: Stop, transport: httpx.AsyncBaseTransport, size_limit: int) -> bytes:
    # A few hundred bytes, compressed twice, are gigabytes: unpacked in one go, before their size can be looked at.
    headers = {"Accept-Encoding": "identity"}
    async with httpx.AsyncClient(transport=transport, timeout=_SILENCE, headers=headers) as client:
        request = client.build_request("GET", url)
        # Redirects are followed here, because httpx reads and unpacks a redirect's whole body.
        for _ in range(_REDIRECTS + 1):
            answer = await client.send(request, stream=True)
            async with aclosing(answer):
                if answer.next_request is None:
                    return await _content(url, answer, limit, size_limit)
                request = answer.next_request
    raise RepositoryUnreachable(f"{url} redirects more than {_REDIRECTS} times")


async def _content(url: str, answer: httpx.Response, limit: Stop, size_limit: int) -> bytes:
    answer.raise_for_status()
    if (encoding := answer.headers.get("Content-Encoding", "identity")).strip().lower() not in ("identity", ""):
        raise RepositoryUnreachable(
            f"{url} is sent compressed or encoded ({encoding[:40]!r}), although uncompressed content was requested",
            retryable=False,
        )
    content = bytearray()
    async for piece in answer.aiter_raw():
        # Tiny chunks that arrived together come without an await in which _until could check.
        limit.check()
        content += piece
        if len(content) > size_limit:
            raise RepositoryUnreachable(f"{url} is larger than {size_limit} bytes", retryable=False)
    return bytes(content)


class _Guarded(httpx.AsyncBaseTransport):
    """Transport that connects to the checked address, not to a name that may resolve differently later.

    Uses no proxy, because the proxy's target address cannot be checked.
    """

    def __init__(self, rules: NetworkRules, resolve: Resolve, limit: Stop) -> None:
        self._rules = rules
        self._resolve = resolve
        self._limit = limit
        self._direct = httpx.AsyncHTTPTransport()
        self._connections: list[Any] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Called anew for every redirect. Raises RepositoryUnreachable for an address that is denied, or Stopped."""
        host = request.url.host
        # It holds the event loop, in which nothing else is to be done until the address is known.
        addresses = look_up(host, stop=self._limit, resolve=self._resolve)
        if self._rules.denies_host(host) or any(self._rules.denies(address) for address in addresses):
            raise RepositoryUnreachable(
                f"{request.url.copy_with(query=None)} resolves to an address that this service does not connect to",
                resolution="the operator can allow it with repository_networks_allowed",
                retryable=False,
            )
        trouble: httpx.TransportError = httpx.ConnectError(f"{host} has no address in DNS", request=request)
        for address in addresses:
            try:
                return await self._direct.handle_async_request(self._to(address, request))
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                trouble = error
        raise trouble

    async def aclose(self) -> None:
        await self._direct.aclose()
        # httpcore 1.0 forgets a connection that is cancelled while it agrees on TLS, and leaves it open.
        for connection in self._connections:
            await connection.aclose()

    def _to(self, address: Address, request: httpx.Request) -> httpx.Request:
        """Redirect the request to an address, keeping its Host header and the TLS server name."""
        return httpx.Request(
            request.method,
            request.url.copy_with(host=str(address)),
            headers=request.headers,
            extensions={**request.extensions, "sni_hostname": request.url.host, "trace": self._traced},
        )

    async def _traced(self, event: str, info: Mapping[str, Any]) -> None:
        """Record new connections. httpcore calls this for every event ("Request Extensions", "trace")."""
        if event == "connection.connect_tcp.complete":
            self._connections.append(info["return_value"])
