"""Authentication and authorization: bearer tokens as FastAPI dependencies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from alts.shared.auth.tokens import Caller, Keys, Scope, read_token
from alts.shared.clock import SteadyClock
from alts.shared.errors import MissingScope, NotTheirTask

# With a security scheme in its OpenAPI document, the page /docs has an Authorize button.
BEARER = HTTPBearer(auto_error=False, bearerFormat="JWT", description="A token made by generate_jwt_token.py")


@dataclass(frozen=True)
class TokenReader:
    """Verifies bearer tokens with a set of keys."""

    keys: Keys
    leeway: float = 0.0
    """Seconds by which the issuer's clock may differ from this host's."""
    clock: SteadyClock | None = None
    """After a jump of this host's clock, tokens are checked against the old time, too, for a while."""

    def read(self, token: str) -> Caller:
        """Return the caller that the token names. Raises InvalidToken."""
        times = None if self.clock is None else self.clock.readings()
        return read_token(token, self.keys, leeway=self.leeway, times=times)


@dataclass(frozen=True)
class Requires:
    """A dependency that returns the caller if the token has this scope. Raises MissingScope.

    scheduler.api.middleware.gate has verified the token before.
    """

    scope: Scope

    # async although it awaits nothing: FastAPI would run a sync dependency in a thread.
    async def __call__(
        self, request: Request, _credentials: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)]
    ) -> Caller:
        return self.check(request)

    def check(self, request: Request) -> Caller:
        """Return the request's caller. Raises MissingScope."""
        caller: Caller = request.state.caller
        if not caller.may(self.scope):
            raise MissingScope(self.scope)
        return caller


Reader = Annotated[Caller, Security(Requires(Scope.READ))]
Writer = Annotated[Caller, Security(Requires(Scope.WRITE))]
WorkerCaller = Annotated[Caller, Security(Requires(Scope.WORKER))]


def check_may_cancel(caller: Caller, submitted_by: str) -> None:
    """Raises NotTheirTask unless the caller is an admin or has submitted the task."""
    if not (caller.is_admin or caller.email == submitted_by):
        raise NotTheirTask(
            f"the task belongs to {submitted_by or 'another caller'}", resolution="ask them, or an admin"
        )
