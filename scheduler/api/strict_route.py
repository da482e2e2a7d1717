"""Routes whose bodies are read where they stall nobody: off the event loop, and only for who may send them."""

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

    FastAPI itself parses and checks a body on the event loop, and asks for the token's scope after that.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        required = tuple(_requirements(self.dependant))

        async def handle_strictly(request: Request) -> Response:
            for requires in required:
                requires.check(request)
            try:
                return await handle(_StrictRequest(request, self))
            except _Refused as refused:
                error = refused.error
            # Out here, and without its frames: nothing refers to itself, so that the body is free at once.
            raise error.with_traceback(None)

        return handle_strictly


def _requirements(dependant: Dependant) -> Iterator[Requires]:
    for inner in dependant.dependencies:
        if isinstance(inner.call, Requires):
            yield inner.call
        yield from _requirements(inner)


class _StrictRequest(Request):
    """FastAPI asks for its JSON, and gets the object that the JSON describes: which needs no more checking."""

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
    """FastAPI says 400 for whatever else is raised while it reads a body."""

    def __init__(self, error: Exception) -> None:
        super().__init__(422)
        self.error = error


def _reader(request: Request) -> BodyReader:
    parts = parts_of(request)
    return parts.worker_bodies if request.scope["path"].startswith(WORKER_PREFIX) else parts.caller_bodies
