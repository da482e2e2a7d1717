"""Configuration errors are named in one line, and secrets stay hidden."""

from __future__ import annotations

from typing import Any

import pytest

from alts.shared.config_file import parse_config
from alts.shared.errors import ConfigurationError
from tests.support.builders import SECRET, a_config

FULL_STACK: dict[str, Any] = {
    "jwt_secret": SECRET,
    "rabbitmq_password": "guess-me-not",
    "s3_secret_access_key": "guess-me-neither",
}


def refusal_of(**changes: Any) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as refusal:
        parse_config({**FULL_STACK, **changes})
    return refusal.value


def test_three_secrets_are_all_that_the_full_stack_needs() -> None:
    config = parse_config(FULL_STACK)

    assert (config.broker, config.storage, config.embedded) == ("rabbitmq", "s3", False)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"jwt_sekret": "x"}, "jwt_sekret"),
        ({"rabbitmq_port": "many"}, "rabbitmq_port"),
        ({"rabbitmq_port": 70000}, "rabbitmq_port"),
        ({"jwt_algorithm": "none"}, "jwt_algorithm"),
        ({"jwt_algorithm": "PS256"}, "jwt_algorithm"),
        (
            {"jwt_secret": "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQ"},
            "jwt_secret",
        ),
        ({"worker_secret": "short"}, "worker_secret"),
        ({"worker_secret": SECRET}, "worker_secret"),
        ({"jwt_secrets": {"2027": "short"}}, "jwt_secrets.2027"),
        ({"jwt_secrets": {"worker": SECRET}}, "jwt_secrets.worker"),
        ({"jwt_secrets": {"2027": SECRET}, "jwt_algorithm": "RS256"}, "jwt_secrets"),
        ({"jwt_public_key_file": "x.pem"}, "jwt_public_key_file"),
        ({"jwt_jwks_file": "x.json"}, "jwt_jwks_file"),
        ({"jwt_jwks_file": "x.json", "jwt_public_key_file": "x.pem", "jwt_algorithm": "EdDSA"}, "jwt_jwks_file"),
        ({"jwt_leeway": -1}, "jwt_leeway"),
        ({"scheduler_url": "http://me:guess-me@scheduler"}, "scheduler_url"),
        ({"s3_endpoint_url": "https://me:guess-me@s3/"}, "s3_endpoint_url"),
        ({"mirrors": {"debian": "http://me:guess-me@mirror/debian"}}, "mirrors"),
        ({"repository_networks_denied": "10.0.0.0/8"}, "repository_networks_denied"),
        ({"lease_seconds": 0}, "lease_seconds"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"heartbeat_seconds": 20, "lease_seconds": 30}, "heartbeat_seconds"),
        ({"runners": {"docker": {"cots": 1}}}, "runners.docker.cots"),
        ({"runners": {"dokcer": {}}}, "runners"),
        ({"runners": {}}, "runners"),
        ({"runners": {"docker": {"architectures": ["sparc"]}}}, "runners.docker.architectures.0"),
        ({"rabbitmq_password": ""}, "rabbitmq_password"),
        ({"s3_secret_access_key": ""}, "s3_secret_access_key"),
        ({"jwt_secret": 12345}, "jwt_secret"),
        ({"instance_network_pool": "10.213.0.0/28"}, "instance_network_pool"),
        ({"instance_network_pool": "10.213.0.1/16"}, "instance_network_pool"),
        ({"instance_network_pool": "fd00::/48"}, "instance_network_pool"),
        ({"instance_networks_denied": ["metadata.google.internal"]}, "instance_networks_denied"),
    ],
    ids=str,
)
def test_the_wrong_key_is_named_in_one_line(changes: dict[str, Any], key: str) -> None:
    refusal = refusal_of(**changes)

    assert refusal.key == key
    assert str(refusal).startswith(f"{key}: ")
    assert "\n" not in str(refusal)


@pytest.mark.parametrize(
    ("algorithm", "secret"),
    [
        ("HS256", ""),
        ("HS256", SECRET[:31]),
        ("HS384", SECRET[:47]),
        ("HS512", SECRET[:63]),
        ("HS256", "a" * 64),
        ("HS256", "change" * 10),
    ],
)
def test_a_weak_secret_is_refused_with_the_way_to_make_a_strong_one(algorithm: str, secret: str) -> None:
    refusal = refusal_of(jwt_algorithm=algorithm, jwt_secret=secret)

    assert refusal.key == "jwt_secret"
    assert "openssl rand -hex" in str(refusal)
    assert not secret or secret not in str(refusal)


@pytest.mark.parametrize("data", [None, [], "text", 1])
def test_what_is_no_mapping_is_refused(data: Any) -> None:
    with pytest.raises(ConfigurationError, match="mapping"):
        parse_config(data)


def test_no_secret_is_in_the_text_of_a_configuration() -> None:
    more = {"database_url": "postgresql://alts:guess-me-never@db/alts", "worker_secret": SECRET[::-1]}
    text = repr(parse_config({**FULL_STACK, **more}))

    assert not [secret for secret in (*FULL_STACK.values(), "guess-me-never", SECRET[::-1]) if secret in text]


def test_a_broker_in_memory_means_one_process() -> None:
    assert a_config().embedded
