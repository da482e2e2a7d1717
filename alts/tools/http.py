"""Small files from the web, such as a repository's key: bounded in time and in size."""

from __future__ import annotations

import httpx

from alts.shared.errors import RepositoryUnreachable
from alts.stop import Stop

SIZE_LIMIT = 64_000  # bytes; the keyrings of distributions have less
_SILENCE = 15.0  # seconds without a byte, after which a server is taken for away


def download(url: str, *, stop: Stop, size_limit: int = SIZE_LIMIT) -> bytes:
    """What is at an http(s) URL, redirects followed.

    Raises RepositoryUnreachable where it cannot be had, or is larger than `size_limit`; Stopped.
    """
    stop.check()
    content = bytearray()
    timeout = min(_SILENCE, max(stop.remaining, 0.1))
    try:
        with httpx.stream("GET", url, timeout=timeout, follow_redirects=True) as answer:
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
