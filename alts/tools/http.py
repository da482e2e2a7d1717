"""Small files from the web, such as a repository's key: bounded in time, in size and in where they may come from."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence

import httpx

from alts.shared.errors import RepositoryUnreachable
from alts.shared.networks import Address, NetworkRules, literal_address
from alts.stop import Stop

SIZE_LIMIT = 64_000  # bytes; the keyrings of distributions have less
_SILENCE = 15.0  # seconds without a byte, after which a server is taken for away

Resolve = Callable[[str], Sequence[Address]]


def addresses_of(host: str) -> tuple[Address, ...]:
    """What a host's name leads to here, in the order to try; none where it is not known."""
    if (literal := literal_address(host)) is not None:
        return (literal,)
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # UnicodeError: what cannot be a name, such as "a..b"
        return ()
    # Of a link-local address the part behind % is no part of the address itself.
    return tuple(dict.fromkeys(ipaddress.ip_address(str(one[4][0]).partition("%")[0]) for one in found))


def download(
    url: str, *, stop: Stop, rules: NetworkRules, size_limit: int = SIZE_LIMIT, resolve: Resolve = addresses_of
) -> bytes:
    """What is at an http(s) URL, redirects followed.

    Raises RepositoryUnreachable where it cannot be had, is where the rules allow nothing to be fetched from, or is
    larger than `size_limit`; Stopped.
    """
    stop.check()
    content = bytearray()
    timeout = min(_SILENCE, max(stop.remaining, 0.1))
    try:
        with (
            httpx.Client(transport=_Guarded(rules, resolve), timeout=timeout, follow_redirects=True) as client,
            client.stream("GET", url) as answer,
        ):
            answer.raise_for_status()
            for piece in answer.iter_bytes():
                stop.check()
                content += piece
                if len(content) > size_limit:
                    raise RepositoryUnreachable(f"{url} is larger than {size_limit} bytes", retryable=False)
    except httpx.HTTPStatusError as error:
        raise RepositoryUnreachable(f"{url} answers {error.response.status_code}") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise RepositoryUnreachable(f"{url} cannot be had", details=f"{type(error).__name__}: {error}") from error
    return bytes(content)


class _Guarded(httpx.BaseTransport):
    """Connects to an address that was looked at, not to a name that may lead elsewhere a moment later.

    No proxy is used: where it would connect to cannot be looked at.
    """

    def __init__(self, rules: NetworkRules, resolve: Resolve) -> None:
        self._rules = rules
        self._resolve = resolve
        self._direct = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Called anew for every redirect. Raises RepositoryUnreachable for an address that is denied."""
        host = request.url.host
        addresses = self._resolve(host)
        if self._rules.denies_host(host) or any(self._rules.denies(address) for address in addresses):
            raise RepositoryUnreachable(
                f"{request.url.copy_with(query=None)} leads to an address that this service does not connect to",
                resolution="repository_networks_allowed in the configuration makes exceptions",
                retryable=False,
            )
        trouble: httpx.TransportError = httpx.ConnectError(f"no address is known for {host}", request=request)
        for address in addresses:
            try:
                return self._direct.handle_request(_to(address, request))
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                trouble = error
        raise trouble

    def close(self) -> None:
        self._direct.close()


def _to(address: Address, request: httpx.Request) -> httpx.Request:
    """The same request, with its Host header and the name that the certificate must have, to that address."""
    return httpx.Request(
        request.method,
        request.url.copy_with(host=str(address)),
        headers=request.headers,
        extensions={**request.extensions, "sni_hostname": request.url.host},
    )
