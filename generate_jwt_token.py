#!/usr/bin/env python3
"""Print a bearer token for the API."""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import sys
from collections.abc import Sequence
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

from alts.shared.config import SECRET_BYTES, read_config_file
from alts.shared.errors import ConfigurationError
from alts.shared.tokens import CALLER_SCOPES, Scope, issue_token

EXAMPLES = """examples:
  generate_jwt_token.py -c configs/alts_config.yaml -e some@email.com
  generate_jwt_token.py -s my_very_secret_phrase -a HS256 -e some@email.com
  generate_jwt_token.py -c configs/alts_config.yaml -e ci@example.org -l 12h --scope tasks:read
"""
WRONG_USE = 2
LONGEST_LIFETIME = timedelta(days=3650)
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_LIFETIME = re.compile(r"([0-9]{1,12})([smhd]?)\Z")
_EMAIL = re.compile(r"[!-?A-~]+@[!-?A-~]+\Z")


def main(argv: Sequence[str] | None = None, *, out: TextIO = sys.stdout, err: TextIO = sys.stderr) -> int:
    """The token alone goes to `out`, warnings and errors to `err`; the exit code is 0 or 2."""
    wanted = _parser().parse_args(argv)
    try:
        secret, algorithm = _key(wanted)
    except ConfigurationError as error:
        err.write(f"generate_jwt_token.py: {error}\n")
        return WRONG_USE
    needed = SECRET_BYTES[algorithm]
    if len(secret.encode()) < needed:
        err.write(
            f"warning: the secret is weak, and the scheduler refuses it: {algorithm} needs at least {needed} random "
            f"bytes, such as from: openssl rand -hex {needed}\n"
        )
    token = issue_token(
        SecretStr(secret),
        algorithm=algorithm,
        email=wanted.email,
        lifetime=wanted.lifetime,
        scopes=[Scope(scope) for scope in wanted.scope] if wanted.scope else CALLER_SCOPES,
    )
    out.write(f"{token}\n")
    return 0


def read_lifetime(text: str) -> timedelta:
    """From 30d, 12h, 45m, 30s, or seconds. Raises argparse.ArgumentTypeError."""
    found = _LIFETIME.match(text)
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < seconds <= LONGEST_LIFETIME.total_seconds():
        raise argparse.ArgumentTypeError(
            f"{text!r} is no lifetime: give a number with d, h, m or s, such as 30d, up to {LONGEST_LIFETIME.days}d"
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
    key.add_argument("-s", "--secret", help="the phrase to sign with")
    parser.add_argument(
        "-a", "--algorithm", choices=sorted(SECRET_BYTES), help="default: the configuration's, else HS256"
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


def _key(wanted: argparse.Namespace) -> tuple[str, str]:
    """Secret and algorithm. Raises ConfigurationError."""
    data = {"jwt_secret": wanted.secret} if wanted.config is None else read_config_file(wanted.config)
    if not isinstance(data, dict):
        raise ConfigurationError(str(wanted.config), "must be a mapping of keys to values")
    secret = data.get("jwt_secret")
    if not isinstance(secret, str) or not secret:
        raise ConfigurationError("jwt_secret", "must be a text that is not empty")
    algorithm = wanted.algorithm or data.get("jwt_algorithm", "HS256")
    if not isinstance(algorithm, str) or algorithm not in SECRET_BYTES:
        raise ConfigurationError("jwt_algorithm", f"must be one of: {', '.join(SECRET_BYTES)}")
    return secret, algorithm


if __name__ == "__main__":
    sys.exit(main())
