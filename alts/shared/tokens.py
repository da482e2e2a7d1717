"""Bearer tokens: issue and read. The only user of PyJWT."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import jwt
from pydantic import SecretStr

from alts.shared.errors import InvalidToken


class Scope(StrEnum):
    """What the bearer of a token may do."""

    READ = "tasks:read"
    WRITE = "tasks:write"
    WORKER = "worker"


CALLER_SCOPES = (Scope.READ, Scope.WRITE)


@dataclass(frozen=True)
class Caller:
    """Who asks, and what they may do."""

    email: str
    scopes: frozenset[str]


def issue_token(
    secret: SecretStr,
    *,
    algorithm: str,
    email: str,
    lifetime: timedelta,
    scopes: Iterable[Scope] = CALLER_SCOPES,
    now: datetime | None = None,
) -> str:
    """A signed token that expires `lifetime` after `now`."""
    issued = now or datetime.now(UTC)
    with warnings.catch_warnings():
        # generate_jwt_token.py -s takes any phrase and says so itself; the service refuses weak secrets at start.
        warnings.simplefilter("ignore", jwt.warnings.InsecureKeyLengthWarning)
        return jwt.encode(
            {
                "sub": email,
                "email": email,
                "scope": " ".join(scopes),
                "iat": issued,
                "exp": issued + lifetime,
            },
            secret.get_secret_value(),
            algorithm=algorithm,
        )


def read_token(token: str, secret: SecretStr, *, algorithm: str) -> Caller:
    """Who signed in with this token. Only `algorithm` is accepted, and `exp` must be there and ahead.

    A token without a `scope` claim may read and write tasks: generators of before scopes existed make those.
    Raises InvalidToken.
    """
    try:
        claims = jwt.decode(
            token, secret.get_secret_value(), algorithms=[algorithm], options={"require": ["exp"], "verify_sub": False}
        )
    except jwt.ExpiredSignatureError as error:
        raise InvalidToken("the token has expired", resolution="get a new one") from error
    except jwt.MissingRequiredClaimError as error:
        raise InvalidToken(f"the token has no {error.claim} claim") from error
    except (jwt.InvalidTokenError, ValueError) as error:
        raise InvalidToken("the token is not valid") from error
    scopes = claims.get("scope", " ".join(CALLER_SCOPES))
    email = claims.get("email") or claims.get("sub") or ""
    if not isinstance(scopes, str) or not isinstance(email, str):
        raise InvalidToken("the token's scope and email claims must be text")
    return Caller(email=email, scopes=frozenset(scopes.split()))
