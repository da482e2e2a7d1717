"""Bodies in JSON that mean one thing to everybody: no key twice, no number that is none, nothing that is no text."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NoReturn

from fastapi import Request, Response
from fastapi.routing import APIRoute


class StrictRoute(APIRoute):
    """A route whose body is read by read_json. For APIRouter(route_class=...)."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_strictly(request: Request) -> Response:
            return await handle(_StrictRequest(request.scope, request.receive))

        return handle_strictly


class _StrictRequest(Request):
    async def json(self) -> Any:
        return read_json(await self.body())


def read_json(body: bytes) -> Any:
    """The value, as RFC 8259 has it.

    Raises json.JSONDecodeError also for a key that comes twice, NaN, infinite or endless numbers, halves of surrogate
    pairs, what is no UTF-8, and what is nested deeper than Python follows.
    """
    try:
        text = body.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_one_of_each, parse_constant=_refuse, parse_float=_finite)
        if "\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError:
        raise
    except UnicodeError:
        raise _wrong("is not UTF-8, or has half of a surrogate pair") from None
    except RecursionError:
        raise _wrong("is nested too deeply") from None
    except ValueError as error:
        raise _wrong(str(error)) from None
    return value


def _one_of_each(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key comes twice in one object")
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _wrong(message: str) -> json.JSONDecodeError:
    return json.JSONDecodeError(message, "", 0)
