"""The shipped configuration files are valid for the service."""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import Any

import pytest
import yaml

from alts.shared.config import Config, InstanceLimits, RunnerConfig
from alts.shared.config_file import load_config, parse_config
from alts.shared.errors import ConfigurationError
from tests.support.checkout import ROOT

CONFIGS = ROOT / "configs"
EXAMPLE = CONFIGS / "example_config.yaml"
SECRETS = ("jwt_secret", "rabbitmq_password", "s3_secret_access_key")


def example(*, with_optional_keys: bool = False) -> dict[str, Any]:
    """Return the example as a user fills it in. with_optional_keys turns on the keys written as "#key: value"."""
    text = EXAMPLE.read_text(encoding="utf-8")
    if with_optional_keys:
        text = re.sub(r"(?m)^#(?=[a-z0-9_]+:)", "", text)
    data: dict[str, Any] = yaml.safe_load(text)
    if with_optional_keys:
        data |= {"worker_secret": secrets.token_hex(32), "jwt_secrets": {"2027": secrets.token_hex(32)}}
    return data | {key: secrets.token_hex(32) for key in SECRETS}


def test_the_example_has_every_key_and_no_other() -> None:
    data = example(with_optional_keys=True)

    assert set(data) == set(Config.model_fields)
    assert set(data["runners"]["docker"]) == set(RunnerConfig.model_fields)
    assert set(data["instance_limits"]) == set(InstanceLimits.model_fields)


@pytest.mark.parametrize("with_optional_keys", [False, True], ids=["as it is", "with everything turned on"])
def test_the_example_is_accepted_once_the_secrets_are_filled_in(with_optional_keys: bool) -> None:
    # These two are for another jwt_algorithm.
    data = example(with_optional_keys=with_optional_keys)
    config = parse_config({key: data[key] for key in data if key not in ("jwt_public_key_file", "jwt_jwks_file")})

    assert config.broker == "rabbitmq"
    assert config.storage == "s3"


@pytest.mark.parametrize("key", SECRETS)
def test_a_secret_that_was_not_filled_in_is_named(key: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        parse_config(example() | {key: ""})

    assert refusal.value.key == key


def test_the_example_as_it_is_shipped_does_not_start_anything() -> None:
    with pytest.raises(ConfigurationError, match="openssl rand -hex 32"):
        load_config(EXAMPLE)


def test_every_key_of_the_example_is_explained() -> None:
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    keys = [number for number, line in enumerate(lines) if re.match(r"#?[a-z0-9_]+:", line)]

    assert [lines[number] for number in keys if not lines[number - 1].startswith("# ")] == []


def test_the_defaults_that_the_example_names_are_the_real_ones() -> None:
    """A default is the value between "Default: " and the full stop that ends the comment."""
    named = re.findall(r"(?m)^# .*Default: ([^ \n]+)\.\n#?([a-z0-9_]+):", EXAMPLE.read_text(encoding="utf-8"))

    assert len(named) > 20
    for default, key in named:
        real = Config.model_fields[key].default
        if isinstance(real, bool | int | float | str | Path):
            assert yaml.safe_load(default) == (str(real) if isinstance(real, Path) else real), key


def test_the_embedded_configuration_lacks_nothing_but_the_secret_that_is_made_at_the_first_start() -> None:
    data = yaml.safe_load((CONFIGS / "embedded.yaml").read_text(encoding="utf-8"))

    config = parse_config(data | {"jwt_secret": secrets.token_hex(32)})

    assert not set(data) & set(SECRETS)
    assert config.jwt_secret_file is not None
    assert config.embedded
    assert config.storage == "folder"
