"""Strength of the secrets that sign tokens."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import SecretStr

from alts.shared.errors import ConfigurationError

# RFC 7518 3.2: an HMAC key needs at least as many bytes as the hash's output.
SECRET_BYTES: Mapping[str, int] = {"HS256": 32, "HS384": 48, "HS512": 64}
ASYMMETRIC = ("RS256", "ES256", "EdDSA")
"""Algorithms whose private key signs elsewhere. The scheduler has the public key only."""


def check_strength(key: str, value: SecretStr, algorithm: str) -> None:
    """Raises ConfigurationError, naming `key`, if `value` is too weak for the HMAC `algorithm`, e.g. "HS256"."""
    needed = SECRET_BYTES[algorithm]
    secret = value.get_secret_value()
    # With a public key as HMAC secret, anyone who can read that key could sign tokens.
    if "-----BEGIN" in secret:
        raise ConfigurationError(
            key, "is the content of a key file, not a secret", resolution="use jwt_public_key_file"
        )
    # A repeated word is long but weak. The hexadecimal form of a random key always has eight different characters.
    if len(secret.encode()) < needed or len(set(secret)) < 8:
        raise ConfigurationError(
            key,
            f"too weak: {algorithm} needs at least {needed} random bytes",
            resolution=f"make one with: openssl rand -hex {needed}",
        )
