#!/usr/bin/env python3
"""Print a bearer token for the API."""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TextIO

if not all(map(importlib.util.find_spec, ("jwt", "pydantic", "yaml"))):
    # Called with the system's Python: what `make` has set up beside this file has the packages.
    python = Path(__file__).resolve().parent / ".venv/bin/python"
    if not python.exists() or Path(sys.executable) == python:
        sys.exit("generate_jwt_token.py: packages are missing: run make setup, or pip install -r requirements/base.txt")
    os.execv(python, [str(python), *sys.argv])

from pydantic import SecretStr

from alts.shared.auth.keys import algorithm_of_private_key
from alts.shared.auth.secret_strength import ASYMMETRIC, SECRET_BYTES
from alts.shared.auth.tokens import CALLER_SCOPES, WORKER_KEY_ID, Scope, issue_token
from alts.shared.config_file import read_config_file
from alts.shared.errors import ConfigurationError

EXAMPLES = """examples:
  generate_jwt_token.py -c configs/alts_config.yaml -e some@email.com
  generate_jwt_token.py -f secret.txt -a HS256 -e some@email.com                    # the phrase alone, in a file
  pass show alts | generate_jwt_token.py -f - -e some@email.com                     # or from another program
  generate_jwt_token.py -c configs/alts_config.yaml -e ci@example.org -l 12h --scope tasks:read
  generate_jwt_token.py -c configs/alts_config.yaml --kid 2027 -e some@email.com    # sign with jwt_secrets' 2027
  generate_jwt_token.py -k private.pem --kid 2027 -e some@email.com                 # RS256, ES256 or EdDSA

keys of one's own:
  openssl genpkey -algorithm ed25519 -out private.pem; openssl pkey -in private.pem -pubout -out public.pem
"""
WRONG_USE = 2
LONGEST_LIFETIME = timedelta(days=3650)
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_LIFETIME = re.compile(r"([0-9]{1,12})([smhd]?)\Z")
_EMAIL = re.compile(r"[!-?A-~]+@[!-?A-~]+\Z")


def main(
    argv: Sequence[str] | None = None, *, read: TextIO = sys.stdin, out: TextIO = sys.stdout, err: TextIO = sys.stderr
) -> int:
    """The token alone goes to `out`, warnings and errors to `err`; the exit code is 0 or 2.

    `read`: standard input, for a phrase.
    """
    wanted = _parser().parse_args(argv)
    scopes = [Scope(scope) for scope in wanted.scope] if wanted.scope else list(CALLER_SCOPES)
    try:
        if wanted.secret_file is not None:
            wanted.secret = _phrase(wanted.secret_file, read)
        key = _key(wanted, scopes)
    except ConfigurationError as error:
        err.write(f"generate_jwt_token.py: {error}\n")
        return WRONG_USE
    needed = SECRET_BYTES.get(key.algorithm, 0)
    if len(key.secret.encode()) < needed:
        err.write(
            f"warning: the secret is weak, and the scheduler refuses it: {key.algorithm} needs at least {needed} "
            f"random bytes, e.g. from: openssl rand -hex {needed}\n"
        )
    token = issue_token(
        SecretStr(key.secret),
        algorithm=key.algorithm,
        email=wanted.email,
        lifetime=wanted.lifetime,
        scopes=scopes,
        kid=key.kid,
    )
    out.write(f"{token}\n")
    return 0


def read_lifetime(text: str) -> timedelta:
    """From 30d, 12h, 45m, 30s, or seconds. Raises argparse.ArgumentTypeError."""
    found = _LIFETIME.match(text)
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < seconds <= LONGEST_LIFETIME.total_seconds():
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a lifetime: give a number with d, h, m or s, e.g. 30d, up to {LONGEST_LIFETIME.days}d"
        )
    return timedelta(seconds=seconds)


def read_email(text: str) -> str:
    """Raises argparse.ArgumentTypeError where the text cannot be an address."""
    if not _EMAIL.match(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no email address")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="generate_jwt_token.py",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    key = parser.add_mutually_exclusive_group(required=True)
    key.add_argument("-c", "--config", type=Path, help="take jwt_secret and jwt_algorithm from this configuration file")
    key.add_argument("-f", "--secret-file", type=Path, help="a file with the phrase to sign with; - for standard input")
    key.add_argument(
        "-s",
        "--secret",
        help="the phrase itself: all who are logged in here see it in the list of processes, so prefer -c or -f",
    )
    key.add_argument("-k", "--private-key", type=Path, help="a PEM file to sign with, without a passphrase")
    parser.add_argument("--kid", help="the key's name, as in jwt_secrets or in the JWKS file")
    parser.add_argument(
        "-a",
        "--algorithm",
        choices=sorted([*SECRET_BYTES, *ASYMMETRIC]),
        help="default: the configuration's, else HS256; with -k what the key is for",
    )
    parser.add_argument("-e", "--email", type=read_email, required=True, help="who the token is for")
    parser.add_argument(
        "-l", "--lifetime", type=read_lifetime, default=timedelta(days=30), help="30d, 12h, 45m or seconds; default 30d"
    )
    parser.add_argument(
        "--scope",
        choices=[scope.value for scope in Scope],
        action="append",
        help=f"what the token allows, may be repeated; default: {' and '.join(CALLER_SCOPES)}",
    )
    return parser


@dataclass(frozen=True)
class _Key:
    """What to sign with: a phrase, or a private key in PEM."""

    secret: str
    algorithm: str
    kid: str | None


def _key(wanted: argparse.Namespace, scopes: Sequence[Scope]) -> _Key:
    """Raises ConfigurationError."""
    if wanted.private_key is not None:
        return _private_key(wanted.private_key, wanted.algorithm, wanted.kid)
    data = {"jwt_secret": wanted.secret} if wanted.config is None else read_config_file(wanted.config)
    if not isinstance(data, dict):
        raise ConfigurationError(str(wanted.config), "must be a mapping of keys to values")
    algorithm = wanted.algorithm or data.get("jwt_algorithm", "HS256")
    name, secret, kid = "jwt_secret", data.get("jwt_secret"), wanted.kid
    if list(scopes) == [Scope.WORKER] and (data.get("worker_secret") or algorithm in ASYMMETRIC):
        # A caller's key makes no worker's token. Workers make their own: this one is for trying out.
        name = "worker_secret" if data.get("worker_secret") else "jwt_secret"
        secret, kid = data.get(name), WORKER_KEY_ID
        algorithm = "HS256" if algorithm in ASYMMETRIC else algorithm
    elif algorithm in ASYMMETRIC:
        raise ConfigurationError("jwt_algorithm", f"{algorithm} needs the private key", resolution="-k FILE")
    elif wanted.config is not None and kid is not None:
        name, more = f"jwt_secrets.{kid}", data.get("jwt_secrets")
        secret = more.get(kid) if isinstance(more, dict) else None
    if not isinstance(secret, str) or not secret:
        raise ConfigurationError(name, "must be a text that is not empty")
    if not isinstance(algorithm, str) or algorithm not in SECRET_BYTES:
        raise ConfigurationError("jwt_algorithm", f"must be one of: {', '.join([*SECRET_BYTES, *ASYMMETRIC])}")
    return _Key(secret, algorithm, kid)


def _phrase(path: Path, read: TextIO) -> str:
    """Without the end of its line, which editors and `openssl rand -hex` write. Raises ConfigurationError."""
    try:
        text = read.read() if path == Path("-") else path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(str(path), f"cannot be read: {error.strerror}") from error
    except UnicodeError:
        # It would quote the content.
        raise ConfigurationError(str(path), "is no text") from None
    return text.rstrip("\r\n")


def _private_key(path: Path, algorithm: str | None, kid: str | None) -> _Key:
    try:
        content = path.read_text(encoding="ascii")
        fits = algorithm_of_private_key(content.encode())
    except OSError as error:
        raise ConfigurationError(str(path), f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        # A UnicodeDecodeError would quote the content.
        why = "is no PEM file" if isinstance(error, UnicodeError) else str(error)
        raise ConfigurationError(str(path), why) from None
    if algorithm not in (None, fits):
        raise ConfigurationError(str(path), f"is a key for {fits}, not for {algorithm}")
    return _Key(content, fits, kid)


if __name__ == "__main__":
    sys.exit(main())
