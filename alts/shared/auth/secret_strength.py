"""How strong a secret that signs tokens must be."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import SecretStr

from alts.shared.errors import ConfigurationError

# RFC 7518 3.2: an HMAC key has at least as many bytes as the hash's output.
SECRET_BYTES: Mapping[str, int] = {"HS256": 32, "HS384": 48, "HS512": 64}
ASYMMETRIC = ("RS256", "ES256", "EdDSA")
"""Signed with a private key that is elsewhere, checked with a public one."""


def check_strength(key: str, value: SecretStr, algorithm: str) -> None:
    needed = SECRET_BYTES[algorithm]
    secret = value.get_secret_value()
    # A public key as an HMAC secret lets each of its readers sign tokens.
    if "-----BEGIN" in secret:
        raise ConfigurationError(key, "is a key file's content, no secret", resolution="see jwt_public_key_file")
    # A key of one repeated word has the length, not the strength: eight different characters is what hex of a
    # random key always has.
    if len(secret.encode()) < needed or len(set(secret)) < 8:
        raise ConfigurationError(
            key,
            f"too weak: {algorithm} needs at least {needed} random bytes",
            resolution=f"make one with: openssl rand -hex {needed}",
        )
