"""Routes that check the token's scope first, and read large bodies off the event loop."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from alts.shared.errors import AltsError
from scheduler.api.auth import Requires
from scheduler.api.body_reader import BodyReader
from scheduler.api.dependencies import parts_of
from scheduler.api.middleware.body_limit import WORKER_PREFIX


class StrictRoute(APIRoute):
    """A route whose body is read by a BodyReader. For APIRouter(route_class=...).

    FastAPI itself parses and validates a body on the event loop, and checks the token's scope after that.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler, with the scope check before it and the strict reading of the body inside."""
        handle = super().get_route_handler()
        required = tuple(_requirements(self.dependant))

        async def handle_strictly(request: Request) -> Response:
            for requires in required:
                requires.check(request)
            try:
                return await handle(_StrictRequest(request, self))
            except _Refused as refused:
                error = refused.error
            # Raised here without its frames: no reference cycle keeps the body in memory.
            raise error.with_traceback(None)

        return handle_strictly


def _requirements(dependant: Dependant) -> Iterator[Requires]:
    for inner in dependant.dependencies:
        if isinstance(inner.call, Requires):
            yield inner.call
        yield from _requirements(inner)


class _StrictRequest(Request):
    """A request whose json() returns the validated object, so FastAPI has nothing left to check."""

    def __init__(self, request: Request, route: APIRoute) -> None:
        super().__init__(request.scope, request.receive)
        self._route = route

    async def json(self) -> Any:
        reader = _reader(self)
        try:
            return await reader.read(await self.body(), self._route.body_field)
        except (AltsError, RequestValidationError) as error:
            raise _Refused(error) from None


class _Refused(HTTPException):
    """Carries an error through FastAPI, which turns other errors during the reading of a body into 400."""

    def __init__(self, error: Exception) -> None:
        super().__init__(422)
        self.error = error


def _reader(request: Request) -> BodyReader:
    parts = parts_of(request)
    return parts.worker_bodies if request.scope["path"].startswith(WORKER_PREFIX) else parts.caller_bodies
