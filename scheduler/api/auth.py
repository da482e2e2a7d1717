"""Who asks, and whether they may: bearer tokens as FastAPI dependencies."""

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
    """Reads the tokens of a set of keys."""

    keys: Keys
    leeway: float = 0.0
    """Seconds by which the clock of the tokens' issuer may differ from this host's."""
    clock: SteadyClock | None = None
    """After a jump of this host's clock, the time before it counts for a while beside the new one."""

    def read(self, token: str) -> Caller:
        """Raises InvalidToken."""
        times = None if self.clock is None else self.clock.readings()
        return read_token(token, self.keys, leeway=self.leeway, times=times)


@dataclass(frozen=True)
class Requires:
    """A dependency: the caller, who has this scope.

    Who asks was found out by scheduler.api.middleware.gate, before anything else. Raises MissingScope.
    """

    scope: Scope

    # async, although nothing is awaited: it takes microseconds, and a sync dependency would cost a thread.
    async def __call__(
        self, request: Request, _credentials: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)]
    ) -> Caller:
        return self.check(request)

    def check(self, request: Request) -> Caller:
        """Raises MissingScope."""
        caller: Caller = request.state.caller
        if not caller.may(self.scope):
            raise MissingScope(self.scope)
        return caller


Reader = Annotated[Caller, Security(Requires(Scope.READ))]
Writer = Annotated[Caller, Security(Requires(Scope.WRITE))]
Worker = Annotated[Caller, Security(Requires(Scope.WORKER))]


def check_may_cancel(caller: Caller, submitted_by: str) -> None:
    """Raises NotTheirTask unless the caller is an admin or has asked for the task."""
    if not (caller.is_admin or caller.email == submitted_by):
        raise NotTheirTask(f"the task is {submitted_by or 'somebody else'}'s", resolution="ask them, or an admin")
