"""Loader of the configuration file: finds, reads and checks it.

Only the entry points load it: alts/app.py, scheduler/app.py and alts/cli/main.py.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from alts.shared.auth.secret_strength import SECRET_BYTES
from alts.shared.config import Config
from alts.shared.errors import ConfigurationError

DEFAULT_PATH = Path("configs/alts_config.yaml")
PATH_VARIABLE = "ALTS_CONFIG"


def config_path() -> Path:
    """Return the path in ALTS_CONFIG, or configs/alts_config.yaml below the current folder."""
    return Path(os.environ.get(PATH_VARIABLE) or DEFAULT_PATH)


def load_config(path: Path, *, make_secret: bool = False) -> Config:
    """Read and check a configuration file.

    If it has a `jwt_secret_file` but no `jwt_secret`, the secret is read from that file. `make_secret` makes a missing
    secret file, readable by its owner only.
    Raises ConfigurationError for the first error. It names the key or the file.
    """
    return parse_config(read_config_file(path, make_secret=make_secret))


def read_config_file(path: Path, *, make_secret: bool = False) -> Any:
    """Read a configuration file and its secret, but check no key. Raises ConfigurationError. See load_config."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigurationError(
            str(path), "does not exist", resolution="copy configs/example_config.yaml there"
        ) from error
    except OSError as error:
        raise ConfigurationError(str(path), f"cannot be read by user {os.getuid()}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(str(path), "is not UTF-8 text") from error
    except yaml.YAMLError as error:
        # Not str(error): it quotes the wrong line, which may hold a secret.
        problem = getattr(error, "problem", None) or "cannot be parsed"
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise ConfigurationError(str(path), f"is not YAML: {problem}{where}") from None
    if isinstance(data, dict) and "jwt_secret" not in data and isinstance(data.get("jwt_secret_file"), str):
        data["jwt_secret"] = _secret_in(Path(data["jwt_secret_file"]), make=make_secret)
    return data


def parse_config(data: Any) -> Config:
    """Check the content of a configuration file. Raises ConfigurationError for the first wrong key."""
    if not isinstance(data, dict):
        raise ConfigurationError("configuration", "must be a mapping of keys to values")
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"]) or "configuration"
        message = "unknown key" if first["type"] == "extra_forbidden" else first["msg"]
        raise ConfigurationError(key, message[:1].lower() + message[1:]) from None


def _secret_in(path: Path, *, make: bool) -> str:
    try:
        if make and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_hex(SECRET_BYTES["HS512"]))
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigurationError(
            "jwt_secret_file",
            f"{path} cannot be read: {error.strerror}",
            resolution="start the service once with: make run",
        ) from error
