"""The gate: ASGI middleware that checks the token and the rate limit before a body is read.

By hand: Starlette's AuthenticationMiddleware limits neither rates nor headers, and there is no maintained ASGI library
that does.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from alts.shared.auth.tokens import Caller
from alts.shared.auth.tokens import Scope as TokenScope
from alts.shared.errors import InvalidToken, MissingScope, RequestError, RequestTooLong
from scheduler.admission.rate_limit import RateLimit
from scheduler.api.auth import TokenReader
from scheduler.api.errors import answer_to
from scheduler.api.middleware.body_limit import WORKER_PREFIX

OPEN_PATHS = frozenset({"/health", "/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"})
OPEN_FOLDER = "/static-offline-docs/"
"""Paths that need no token. All other paths need one, including those of future routes."""

LONGEST_PATH = 2048  # bytes
MOST_HEADERS = 100
LARGEST_HEADERS = 32 << 10  # bytes, of all names and values


class Gate:
    """Lets a request in if its token is valid and its caller is within the rate limit. Sets `request.state.caller`.

    A refused request costs no thread, no read of the ledger and no memory for a body.
    """

    def __init__(self, app: ASGIApp, *, reader: TokenReader, rate_limit: RateLimit) -> None:
        self._app = app
        self._reader = reader
        self._rate_limit = rate_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            _check_size(scope)
            scope.setdefault("state", {})["caller"] = self._stranger(scope) if _is_open(scope) else self._caller(scope)
        except RequestError as error:
            answer = answer_to(error)
            # The rest of the body would be read as the next request.
            answer.headers["Connection"] = "close"
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _stranger(self, scope: Scope) -> Caller | None:
        """The caller of an open path if the token is valid; an invalid token is ignored there."""
        try:
            return self._reader.read(_token(scope))
        except InvalidToken:
            return None

    def _caller(self, scope: Scope) -> Caller:
        """Raises InvalidToken, MissingScope or TooManyRequests."""
        caller = self._reader.read(_token(scope))
        if scope["path"].startswith(WORKER_PREFIX):
            if not caller.may(TokenScope.WORKER):
                raise MissingScope(TokenScope.WORKER)
        elif not caller.is_admin:
            self._rate_limit.check(caller.email)
        return caller


def _is_open(scope: Scope) -> bool:
    """Whether the request needs no token: open paths with GET or HEAD, so no body is read without a token."""
    path: str = scope["path"]
    return scope["method"] in ("GET", "HEAD") and (path in OPEN_PATHS or path.startswith(OPEN_FOLDER))


def _token(scope: Scope) -> str:
    """Raises InvalidToken unless there is exactly one bearer token (RFC 6750 2.1)."""
    sent = [value for name, value in scope["headers"] if name == b"authorization"]
    kind, _, token = sent[0].decode("latin-1").partition(" ") if len(sent) == 1 else ("", "", "")
    if kind.lower() != "bearer" or not token.strip():
        raise InvalidToken("a bearer token is needed", resolution="send the header Authorization: Bearer <token>")
    return token.strip()


def _check_size(scope: Scope) -> None:
    """Raises RequestTooLong."""
    if len(scope["path"]) + len(scope["query_string"]) > LONGEST_PATH:
        raise RequestTooLong(f"the path is too long: at most {LONGEST_PATH} bytes are accepted", status=414)
    headers = scope["headers"]
    if len(headers) > MOST_HEADERS or sum(len(name) + len(value) for name, value in headers) > LARGEST_HEADERS:
        raise RequestTooLong(
            f"too many headers: at most {MOST_HEADERS} of {LARGEST_HEADERS} bytes in all are accepted", status=431
        )
