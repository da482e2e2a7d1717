"""Key pairs, and tokens with arbitrary headers and claims."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from pydantic import SecretStr

from alts.shared.auth.tokens import issue_token

ALGORITHMS = ("RS256", "ES256", "EdDSA")


class KeyPair:
    """A private key and its public key, in their encodings."""

    def __init__(self, private: Any, algorithm: str) -> None:
        self.algorithm = algorithm
        self.private_pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        self.public_pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        kind: Any = jwt.get_algorithm_by_name(algorithm)
        self.public_jwk: dict[str, Any] = json.loads(kind.to_jwk(private.public_key()))
        self.private_jwk: dict[str, Any] = json.loads(kind.to_jwk(private))

    def token(self, **changes: Any) -> str:
        wanted: dict[str, Any] = {"email": "me@example.org", "lifetime": timedelta(minutes=5), **changes}
        return issue_token(SecretStr(self.private_pem), algorithm=self.algorithm, **wanted)


@cache
def key_pair(algorithm: str, number: int = 0, *, bits: int = 2048) -> KeyPair:
    """Return the same key for the same number."""
    if algorithm == "RS256":
        return KeyPair(rsa.generate_private_key(public_exponent=65537, key_size=bits), algorithm)
    if algorithm == "ES256":
        return KeyPair(ec.generate_private_key(ec.SECP256R1()), algorithm)
    return KeyPair(ed25519.Ed25519PrivateKey.generate(), algorithm)


def jwks(**pairs: KeyPair) -> str:
    """Return a key set of their public keys, by kid."""
    return json.dumps({"keys": [{**pair.public_jwk, "kid": kid} for kid, pair in pairs.items()]})


def public_file(folder: Path, content: str, name: str = "public.pem") -> str:
    path = folder / name
    path.write_text(content)
    return str(path)


def hmac_token(header: dict[str, Any], claims: dict[str, Any], secret: bytes) -> str:
    """Sign by hand with any header and any secret, which libraries refuse."""
    signed = f"{_part(header)}.{_part(claims)}"
    signature = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def _part(data: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(data).encode()).rstrip(b"=").decode()
