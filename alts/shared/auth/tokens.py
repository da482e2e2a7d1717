"""Bearer tokens: issue and read."""

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
    """What the bearer of a token may do."""

    READ = "tasks:read"
    WRITE = "tasks:write"
    WORKER = "worker"
    """Claim, heartbeat and report, and nothing that callers do."""
    ADMIN = "admin"
    """All that callers may, also with the tasks of others, and without limits; nothing that workers do."""


CALLER_SCOPES = (Scope.READ, Scope.WRITE)
WORKER_KEY_ID = "worker"
"""The `kid` that workers' tokens name: no other key may be called so."""

# A header of a request has 16 KiB at most (h11); a token that says more than who asks is none of ours.
LONGEST_TOKEN = 8192  # characters
_CHECKED_HERE: Options = {
    "require": ["exp"],
    "verify_sub": False,
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
}
# What fits into a log line and a column: RFC 5321 4.5.3.1 allows an address 254 characters; no line ends by it.
_NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{1,320}\Z")


@dataclass(frozen=True)
class Caller:
    """Who asks, and what they may do."""

    email: str
    scopes: frozenset[str]

    @property
    def is_admin(self) -> bool:
        """Whether the tasks of others are theirs too, and no limit counts."""
        return Scope.ADMIN in self.scopes

    def may(self, scope: Scope) -> bool:
        """Whether a route that asks for this scope is open to them."""
        return scope in self.scopes or (self.is_admin and scope in CALLER_SCOPES)


@dataclass(frozen=True)
class Key:
    """What checks a token's signature: good for one algorithm, and for the scopes that it may grant."""

    algorithm: str
    material: Any
    """A SecretStr, or a public key of the package cryptography."""
    grants: frozenset[Scope]


class Keys(Protocol):
    """The keys that tokens are checked with."""

    def find(self, algorithm: str, kid: str | None) -> Key | None:
        """The key of that name and algorithm; None is the name of a key that tokens do not name."""


@dataclass(frozen=True)
class OneSecret:
    """The one key there is, for tokens that name none."""

    secret: SecretStr
    algorithm: str
    grants: frozenset[Scope] = frozenset(Scope)

    def find(self, algorithm: str, kid: str | None) -> Key | None:
        if (algorithm, kid) != (self.algorithm, None):
            return None
        return Key(self.algorithm, self.secret, self.grants)


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
    """A signed token that expires `lifetime` after `now`.

    `secret` is the phrase for HS256, HS384 and HS512, the private key as PEM for the others; `kid` names it.
    """
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
            headers={"kid": kid} if kid is not None else None,
        )


def read_token(token: str, keys: Keys, *, leeway: float = 0.0, times: Sequence[float] | None = None) -> Caller:
    """Who signed in with this token. `exp` must be there, and ahead by no less than -`leeway` seconds.

    `times`: seconds since the epoch that may be now; it is enough that the token is good at one of them. By default
    the wall clock's.

    The header's `alg` and `kid` choose among our keys and decide nothing more: each key is good for one algorithm, and
    what else a header says of keys (jku, x5u, jwk) is not looked at. A token gets no scope that its key may not grant;
    one without a `scope` claim may read and write tasks: generators of before scopes existed make those.
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
    # RFC 7515 4.1.11: what is critical must be understood, and we understand no extension.
    if key is None or "crit" in header:
        raise jwt.InvalidTokenError("no key of ours, or an extension that is not ours")
    material = key.material.get_secret_value() if isinstance(key.material, SecretStr) else key.material
    claims = jwt.decode(token, material, algorithms=[key.algorithm], options=_CHECKED_HERE)
    _check_times(claims, leeway, times)
    scopes = claims.get("scope", " ".join(CALLER_SCOPES))
    email = claims.get("email") or claims.get("sub")
    if not isinstance(scopes, str) or not isinstance(email, str) or not _NAME.match(email):
        raise InvalidToken("the token's email (or sub) and scope claims must be text, and name somebody")
    return Caller(email=email, scopes=frozenset(scopes.split()) & key.grants)


def _check_times(claims: Mapping[str, Any], leeway: float, times: Sequence[float]) -> None:
    """What PyJWT checks for one time of day (RFC 7519 4.1.4-4.1.6), for several: one that fits will do.

    Raises jwt.PyJWTError or ValueError.
    """
    expires, begins = int(claims["exp"]), max(int(claims.get("nbf", 0)), int(claims.get("iat", 0)))
    begun = [now for now in times if begins <= now + leeway]
    if not begun:
        raise jwt.ImmatureSignatureError("not valid yet")
    if not any(now - leeway < expires for now in begun):
        raise jwt.ExpiredSignatureError("expired")
