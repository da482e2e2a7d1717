"""Responses to errors: the HTTP status for each kind of error, and the body."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from alts.shared.errors import (
    AltsError,
    InvalidToken,
    KeyReused,
    LedgerUnavailable,
    MissingScope,
    NotTheirTask,
    RepositoryDenied,
    RequestTooLong,
    SchedulerBusy,
    StaleAttempt,
    StorageUnavailable,
    TaskFinished,
    TooManyRequests,
    UnknownArtifact,
    UnknownTask,
    UnsupportedPlatform,
)

log = logging.getLogger(__name__)

STATUS: Mapping[type[AltsError], int] = {
    InvalidToken: 401,
    MissingScope: 403,
    NotTheirTask: 403,
    RepositoryDenied: 422,
    RequestTooLong: 414,
    TooManyRequests: 429,
    UnknownTask: 404,
    UnknownArtifact: 404,
    TaskFinished: 409,
    KeyReused: 409,
    StaleAttempt: 409,
    UnsupportedPlatform: 422,
    LedgerUnavailable: 503,
    SchedulerBusy: 503,
    StorageUnavailable: 503,
}
RETRY_AFTER_SECONDS = 5

# The first errors are enough for a request with a thousand wrong fields. Long input is not sent back.
MOST_ERRORS = 5
LONGEST_ECHO = 200
# A URL with credentials is not sent back.
_CREDENTIALS = re.compile(r"//[^/\s]*@")


class Problem(BaseModel):
    """The reason why a request was refused."""

    detail: str


RESPONSES: dict[int | str, dict[str, Any]] = {
    401: {"model": Problem, "description": "The token is missing, forged or expired"},
    403: {"model": Problem, "description": "The token does not allow this"},
    404: {"model": Problem, "description": "No task has this id, or the task has no artifact of this name"},
    409: {
        "model": Problem,
        "description": "The task or attempt is over, or the Idempotency-Key was used before",
    },
    408: {"model": Problem, "description": "The body did not arrive in time"},
    413: {"model": Problem, "description": "The body is too large"},
    414: {"model": Problem, "description": "The path is too long"},
    429: {
        "model": Problem,
        "description": "Too many requests or tasks; try again after Retry-After seconds",
    },
    431: {"model": Problem, "description": "Too many headers"},
    503: {
        "model": Problem,
        "description": "Ledger or storage is unavailable, or the scheduler busy; try again",
    },
}
"""Descriptions for the OpenAPI document."""


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Select a route's entries of RESPONSES: the given statuses and those that every route can return."""
    return {status: RESPONSES[status] for status in sorted((401, 403, 408, 413, 414, 429, 431, *statuses, 503))}


def install(app: FastAPI) -> None:
    """Register the error handlers."""
    for kind in STATUS:
        app.add_exception_handler(kind, _answer)
    app.add_exception_handler(RequestValidationError, _unprocessable)
    app.add_exception_handler(Exception, _internal)


async def _answer(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, AltsError):
        raise TypeError("expected an AltsError") from error
    return answer_to(error)


def answer_to(error: AltsError) -> JSONResponse:
    """Build the response to an error whose class is in STATUS."""
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    if isinstance(error, UnsupportedPlatform):
        return _blaming((error.field,), "unsupported_platform", error, status)
    if isinstance(error, RepositoryDenied):
        return _blaming(("repositories", *error.field), "repository_denied", error, status)
    if isinstance(error, RequestTooLong):
        status = error.status
    if status == 503:
        log.warning("request refused", extra={"status": status, "reason": str(error)})
    return JSONResponse({"detail": str(error)}, status, headers=_headers(error))


def _blaming(field: tuple[str | int, ...], kind: str, error: AltsError, status: int) -> JSONResponse:
    return JSONResponse({"detail": [{"type": kind, "loc": ["body", *field], "msg": str(error)}]}, status)


def _headers(error: AltsError) -> dict[str, str]:
    # RFC 6750 3.1: the error code is given for an invalid token, but not for a missing one.
    if isinstance(error, MissingScope):
        return {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{error.scope}"'}
    if isinstance(error, InvalidToken):
        return {"WWW-Authenticate": "Bearer" if error.__cause__ is None else 'Bearer error="invalid_token"'}
    if isinstance(error, TooManyRequests):
        return {"Retry-After": str(error.retry_after)}
    if isinstance(error, LedgerUnavailable | SchedulerBusy | StorageUnavailable):
        return {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return {}


async def _unprocessable(_request: Request, error: Exception) -> JSONResponse:
    found: Sequence[Any] = error.errors() if isinstance(error, RequestValidationError) else ()
    return JSONResponse({"detail": [_entry(one) for one in found[:MOST_ERRORS]]}, 422)


def _entry(found: Mapping[str, Any]) -> dict[str, Any]:
    """FastAPI's usual entry, shortened, and without values that JSON or UTF-8 can't represent."""
    entry: dict[str, Any] = {
        "type": found["type"],
        "loc": [part if isinstance(part, int) else _short(str(part)) for part in found["loc"]],
        "msg": _short(_message(found), limit=1000),
    }
    value = found.get("input")
    if isinstance(value, str) and len(value) <= LONGEST_ECHO and not _CREDENTIALS.search(value):
        entry["input"] = _short(value)
    elif value is None or isinstance(value, bool) or _is_plain_number(value):
        entry["input"] = value
    return entry


def _message(found: Mapping[str, Any]) -> str:
    if found["type"] == "json_invalid":
        return f"not valid JSON: {found['ctx']['error']}"
    return str(found["msg"])


def _is_plain_number(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and abs(value) < 2**63


def _short(text: str, *, limit: int = LONGEST_ECHO) -> str:
    # JSON can escape an unpaired surrogate ("\ud800"), which UTF-8 cannot encode. A key can be as long as a body.
    clean = text[: limit + 1].encode("utf-8", "replace").decode()
    return clean if len(clean) <= limit else clean[:limit] + "..."


async def _internal(_request: Request, _error: Exception) -> JSONResponse:
    # Starlette raises the error again after this response, and the server logs it with its traceback.
    return JSONResponse({"detail": "internal error"}, 500)
