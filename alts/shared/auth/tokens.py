"""Bearer tokens: JWTs that callers and workers sign in with."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

import jwt
from jwt.types import Options
from pydantic import SecretStr

from alts.shared.errors import InvalidToken


class Scope(StrEnum):
    """A permission that a token grants."""

    READ = "tasks:read"
    WRITE = "tasks:write"
    WORKER = "worker"
    """Claim, heartbeat and report. Excludes everything that callers may do."""
    ADMIN = "admin"
    """Everything that callers may do, with all callers' tasks and without limits. Excludes what workers do."""


CALLER_SCOPES = (Scope.READ, Scope.WRITE)
WORKER_KEY_ID = "worker"
"""The `kid` of workers' tokens. No other key may have it."""

# A request's headers have at most 16 KiB (h11). The service's own tokens only name the caller.
LONGEST_TOKEN = 8192  # characters
_CHECKED_HERE: Options = {
    "require": ["exp"],
    "verify_sub": False,
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
}
# Fits into a log line and a column, and ends no line. RFC 5321 4.5.3.1 allows an address 254 characters.
_NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{1,320}\Z")


@dataclass(frozen=True)
class Caller:
    """The sender of a request, and its permissions."""

    email: str
    scopes: frozenset[str]

    @property
    def is_admin(self) -> bool:
        """Whether the caller may handle all tasks, and has no limits."""
        return Scope.ADMIN in self.scopes

    def may(self, scope: Scope) -> bool:
        """Tell whether the caller may use a route that needs this scope."""
        return scope in self.scopes or (self.is_admin and scope in CALLER_SCOPES)


@dataclass(frozen=True)
class Key:
    """A key that checks signatures of one algorithm. Its tokens get no other scopes than `grants`."""

    algorithm: str
    material: Any
    """A SecretStr, or a public key of the package cryptography."""
    grants: frozenset[Scope]


class Keys(Protocol):
    """The keys that check tokens."""

    def find(self, algorithm: str, kid: str | None) -> Key | None:
        """Return the key with this name and algorithm, if there is one. `kid` is None for tokens that name no key."""


def issue_token(
    secret: SecretStr,
    *,
    algorithm: str,
    email: str,
    lifetime: timedelta,
    scopes: Iterable[Scope] = CALLER_SCOPES,
    kid: str | None = None,
    now: datetime | None = None,
) -> str:
    """Return a signed token that expires `lifetime` after `now`.

    `secret`: the secret for HS256, HS384 and HS512, the private key in PEM for other algorithms. `kid`: its name.
    """
    issued = now or datetime.now(UTC)
    with warnings.catch_warnings():
        # generate_jwt_token.py -s accepts any secret and warns itself. The service refuses weak ones at its start.
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
            headers={"kid": kid} if kid is not None else None,
        )


def read_token(token: str, keys: Keys, *, leeway: float = 0.0, times: Sequence[float] | None = None) -> Caller:
    """Check a token and return its caller. `exp` is required, and may have passed at most `leeway` seconds ago.

    `times`: possible values of now, in seconds since the epoch; by default the wall clock's. The token must be valid
    at one of them.

    The header's `alg` and `kid` only select one of `keys`. Each key is for one algorithm, and other headers about keys
    (jku, x5u, jwk) are ignored. A token gets no scope beyond its key's grants. A token without a `scope` claim, as made
    before scopes existed, may read and write tasks.
    Raises InvalidToken.
    """
    if len(token) > LONGEST_TOKEN:
        raise InvalidToken("the token is not valid")
    try:
        return _caller(token, keys, leeway, (time.time(),) if times is None else times)
    except jwt.ExpiredSignatureError as error:
        raise InvalidToken("the token has expired", resolution="get a new one") from error
    except jwt.MissingRequiredClaimError as error:
        raise InvalidToken(f"the token has no {error.claim} claim") from error
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InvalidToken("the token is not valid") from error


def _caller(token: str, keys: Keys, leeway: float, times: Sequence[float]) -> Caller:
    header = jwt.get_unverified_header(token)
    key = keys.find(str(header.get("alg")), header.get("kid"))
    # RFC 7515 4.1.11: critical extensions must be understood. This service understands none.
    if key is None or "crit" in header:
        raise jwt.InvalidTokenError("no key fits, or the token has a critical extension")
    material = key.material.get_secret_value() if isinstance(key.material, SecretStr) else key.material
    claims = jwt.decode(token, material, algorithms=[key.algorithm], options=_CHECKED_HERE)
    _check_times(claims, leeway, times)
    scopes = claims.get("scope", " ".join(CALLER_SCOPES))
    email = claims.get("email") or claims.get("sub")
    if not isinstance(scopes, str) or not isinstance(email, str) or not _NAME.match(email):
        raise InvalidToken(
            "the token's email (or sub) and scope claims must be text, and the email (or sub) must not be empty"
        )
    return Caller(email=email, scopes=frozenset(scopes.split()) & key.grants)


def _check_times(claims: Mapping[str, Any], leeway: float, times: Sequence[float]) -> None:
    """Check exp, nbf and iat (RFC 7519 4.1.4-4.1.6). PyJWT checks them at one time; here any of `times` will do.

    Raises jwt.PyJWTError or ValueError.
    """
    expires, begins = int(claims["exp"]), max(int(claims.get("nbf", 0)), int(claims.get("iat", 0)))
    begun = [now for now in times if begins <= now + leeway]
    if not begun:
        raise jwt.ImmatureSignatureError("not valid yet")
    if not any(now - leeway < expires for now in begun):
        raise jwt.ExpiredSignatureError("expired")
