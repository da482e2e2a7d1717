"""The scheduler's keys for tokens: secrets from the configuration, public keys from a file."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from alts.shared.auth.secret_strength import ASYMMETRIC
from alts.shared.auth.tokens import CALLER_SCOPES, WORKER_KEY_ID, Key, Scope
from alts.shared.config import Config
from alts.shared.errors import ConfigurationError

log = logging.getLogger(__name__)

CALLERS = frozenset({*CALLER_SCOPES, Scope.ADMIN})
WORKERS = frozenset({Scope.WORKER})

# NIST SP 800-57 part 1, 5.6: 112 bits of strength, the least allowed.
LEAST_RSA_BITS = 2048
LARGEST_FILE = 1 << 20  # bytes
LOOK_INTERVAL = 1.0  # seconds between two checks whether the file has changed

_PublicKeys = Mapping[str | None, Any]
"""By `kid`; None for a key that tokens do not name."""


class TokenKeys:
    """All keys of a configuration. Implements alts.shared.auth.tokens.Keys.

    Callers' keys do not grant the workers' scope, unless callers and workers share `jwt_secret`.
    """

    def __init__(self, config: Config, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises ConfigurationError if a key is missing, unreadable, private or too weak."""
        self._secrets = dict(_secrets(config))
        self._file: KeyFile | None = None
        if config.jwt_algorithm in ASYMMETRIC:
            named = config.jwt_jwks_file or config.jwt_public_key_file
            if named is None:
                raise ConfigurationError(
                    "jwt_public_key_file", f"missing: {config.jwt_algorithm} needs it, or jwt_jwks_file"
                )
            self._file = KeyFile(named, config.jwt_algorithm, jwks=config.jwt_jwks_file is not None, clock=clock)
        elif not config.jwt_secret.get_secret_value():
            raise ConfigurationError("jwt_secret", f"missing: {config.jwt_algorithm} needs it")

    def find(self, algorithm: str, kid: str | None) -> Key | None:
        """See alts.shared.auth.tokens.Keys."""
        if self._file is not None and algorithm == self._file.algorithm:
            material = self._file.keys().get(kid)
            return None if material is None else Key(algorithm, material, CALLERS)
        return self._secrets.get((algorithm, kid))


def _secrets(config: Config) -> Mapping[tuple[str, str | None], Key]:
    algorithm = config.hmac_algorithm
    callers = frozenset[Scope]() if config.jwt_algorithm in ASYMMETRIC else CALLERS
    found: dict[tuple[str, str | None], Key] = {
        (algorithm, WORKER_KEY_ID): Key(algorithm, config.workers_secret, WORKERS),
    }
    if config.jwt_secret.get_secret_value():
        workers = WORKERS if config.worker_secret is None else frozenset[Scope]()
        found[algorithm, None] = Key(algorithm, config.jwt_secret, callers | workers)
    for kid, secret in config.jwt_secrets.items():
        found[algorithm, kid] = Key(algorithm, secret, callers)
    return found


class KeyFile:
    """Public keys of one algorithm in a PEM or JWKS file, read again after a change.

    A new version that is not usable is logged once, and the previous keys stay.
    """

    def __init__(self, path: Path, algorithm: str, *, jwks: bool, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the file. Raises ConfigurationError if it is not usable."""
        self.algorithm = algorithm
        self._path = path
        self._setting = "jwt_jwks_file" if jwks else "jwt_public_key_file"
        self._read = _of_jwks if jwks else _of_pem
        self._clock = clock
        self._version = self._look()
        self._keys = self._load()
        self._look_at = clock() + LOOK_INTERVAL

    def keys(self) -> _PublicKeys:
        """Return the current keys. A change of the file takes effect within LOOK_INTERVAL."""
        if self._clock() >= self._look_at:
            self._look_at = self._clock() + LOOK_INTERVAL
            version = self._look()
            if version != self._version:
                self._version = version
                try:
                    self._keys = self._load()
                except ConfigurationError as error:
                    log.warning("token keys not renewed", extra={"reason": str(error)})
                else:
                    log.info("token keys renewed", extra={"file": str(self._path), "keys": len(self._keys)})
        return self._keys

    def _look(self) -> tuple[int, ...]:
        try:
            found = self._path.stat()
        except OSError:
            return ()
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _load(self) -> _PublicKeys:
        try:
            with self._path.open("rb") as file:
                content = file.read(LARGEST_FILE + 1)
        except OSError as error:
            raise ConfigurationError(self._setting, f"{self._path} cannot be read: {error.strerror}") from error
        if len(content) > LARGEST_FILE:
            raise ConfigurationError(self._setting, f"{self._path} is larger than {LARGEST_FILE} bytes")
        try:
            return self._read(content, self.algorithm)
        except ValueError as error:
            raise ConfigurationError(self._setting, f"{self._path}: {error}") from None


def _of_pem(content: bytes, algorithm: str) -> _PublicKeys:
    """Raises ValueError, and never quotes the content."""
    if b"PRIVATE KEY" in content:
        raise ValueError(
            "is a private key; give the public key, with which the scheduler can check tokens but not make them"
        )
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("holds no public key in PEM (-----BEGIN PUBLIC KEY-----)") from None
    return {None: _fit(key, algorithm)}


def _of_jwks(content: bytes, algorithm: str) -> _PublicKeys:
    """Ignore keys for other algorithms and uses (RFC 7517 5). Raises ValueError, and never quotes the content."""
    try:
        entries = json.loads(content)["keys"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError("is not a JWKS (a JSON object with a list of keys)") from None
    found: dict[str | None, Any] = {}
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, dict) or not _is_ours(entry, algorithm):
            continue
        kid = entry.get("kid")
        if kid in found:
            raise ValueError(f"two keys for {algorithm} have the same kid")
        found[kid] = _fit(_public_key(entry, algorithm), algorithm)
    if not found:
        raise ValueError(f"has no key for {algorithm}")
    if None in found and len(found) > 1:
        raise ValueError("has several keys, and one of them has no kid")
    return found


def _is_ours(entry: Mapping[str, Any], algorithm: str) -> bool:
    if entry.get("kty") == "oct" or "d" in entry:
        raise ValueError("holds a secret or a private key; leave only public keys in it")
    kind = {"RS256": ("RSA", None), "ES256": ("EC", "P-256"), "EdDSA": ("OKP", "Ed25519")}[algorithm]
    return (
        (entry.get("kty"), entry.get("crv")) == kind
        and entry.get("alg", algorithm) == algorithm
        and entry.get("use", "sig") == "sig"
        and isinstance(entry.get("kid"), str | None)
    )


def _public_key(entry: dict[str, Any], algorithm: str) -> Any:
    try:
        return jwt.PyJWK(entry, algorithm=algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError, UnsupportedAlgorithm):
        raise ValueError(f"has a damaged key for {algorithm}") from None


def _fit(key: Any, algorithm: str) -> Any:
    """Return the key if it is of the algorithm's type and strong enough. Raises ValueError otherwise."""
    if algorithm == "RS256" and isinstance(key, RSAPublicKey):
        if key.key_size < LEAST_RSA_BITS:
            raise ValueError(f"an RSA key of {key.key_size} bits is too weak: at least {LEAST_RSA_BITS} are needed")
        return key
    if algorithm == "ES256" and isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return key
    if algorithm == "EdDSA" and isinstance(key, Ed25519PublicKey):
        return key
    raise ValueError(f"is not a key for {algorithm}")


def algorithm_of_private_key(pem: bytes) -> str:
    """Return a private key's algorithm: "RS256", "ES256" or "EdDSA". Raises ValueError, and never quotes the key."""
    try:
        public = load_pem_private_key(pem, password=None).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("holds no private key in PEM, or one with a passphrase") from None
    for algorithm in ASYMMETRIC:
        try:
            _fit(public, algorithm)
        except ValueError as error:
            if "too weak" in str(error):
                raise
        else:
            return algorithm
    raise ValueError("is a key of another type: RSA, EC on the curve P-256 and Ed25519 are accepted")
