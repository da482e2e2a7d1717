"""The keys that check tokens: which key accepts which token, and which tokens are always refused."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from alts.client.worker_api import worker_tokens
from alts.shared.auth.keys import LOOK_INTERVAL, TokenKeys
from alts.shared.auth.tokens import CALLER_SCOPES, Caller, Scope, issue_token, read_token
from alts.shared.errors import ConfigurationError, InvalidToken
from tests.support.builders import SECRET, a_config
from tests.support.scheduler_parts import HandClock
from tests.support.signing import ALGORITHMS, KeyPair, hmac_token, jwks, key_pair, public_file

OTHER_SECRET = SECRET[::-1]
CLAIMS: dict[str, Any] = {"email": "me@example.org", "exp": 9_999_999_999, "scope": "tasks:read"}


def keys_of(pair: KeyPair, folder: Path, **changes: Any) -> TokenKeys:
    """Return the reader of a scheduler that knows the pair's public key, which has no kid."""
    path = public_file(folder, pair.public_pem)
    return TokenKeys(a_config(jwt_algorithm=pair.algorithm, jwt_public_key_file=path, **changes))


def keys_of_jwks(content: str, folder: Path, algorithm: str, *, clock: HandClock | None = None) -> TokenKeys:
    config = a_config(jwt_algorithm=algorithm, jwt_jwks_file=public_file(folder, content, "keys.json"))
    return TokenKeys(config, clock=clock or HandClock())


def secret_token(secret: str = SECRET, **changes: Any) -> str:
    wanted = {"algorithm": "HS256", "email": "me@example.org", "lifetime": timedelta(minutes=5), **changes}
    return issue_token(SecretStr(secret), **wanted)


def refused(token: str, keys: TokenKeys) -> bool:
    try:
        read_token(token, keys)
    except InvalidToken:
        return True
    return False


# accepted tokens


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_token_of_the_private_key_is_read_with_the_public_one(tmp_path: Path, algorithm: str) -> None:
    pair = key_pair(algorithm)

    caller = read_token(pair.token(scopes=[Scope.READ]), keys_of(pair, tmp_path))

    assert caller == Caller(email="me@example.org", scopes=frozenset({Scope.READ}))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_in_a_key_set_the_kid_chooses(tmp_path: Path, algorithm: str) -> None:
    old, new = key_pair(algorithm, 0), key_pair(algorithm, 1)
    keys = keys_of_jwks(jwks(old=old, new=new), tmp_path, algorithm)

    assert read_token(old.token(kid="old"), keys).scopes == set(CALLER_SCOPES)
    assert read_token(new.token(kid="new"), keys).scopes == set(CALLER_SCOPES)
    assert refused(old.token(kid="new"), keys)
    assert refused(old.token(kid="other"), keys)
    assert refused(old.token(), keys)


def test_secrets_are_changed_one_by_one_by_their_kid() -> None:
    keys = TokenKeys(a_config(jwt_secrets={"2027": OTHER_SECRET}))

    assert read_token(secret_token(), keys).email == "me@example.org"
    assert read_token(secret_token(OTHER_SECRET, kid="2027"), keys).email == "me@example.org"
    assert refused(secret_token(OTHER_SECRET), keys)
    assert refused(secret_token(kid="2027"), keys)
    assert refused(secret_token(kid="2028"), keys)


def test_keys_rotate_without_a_restart(tmp_path: Path) -> None:
    clock = HandClock()
    old, new = key_pair("EdDSA", 0), key_pair("EdDSA", 1)
    keys = keys_of_jwks(jwks(old=old), tmp_path, "EdDSA", clock=clock)
    assert refused(new.token(kid="new"), keys)

    replace(tmp_path / "keys.json", jwks(new=new))
    clock.pass_by(LOOK_INTERVAL)

    assert read_token(new.token(kid="new"), keys).email == "me@example.org"
    assert refused(old.token(kid="old"), keys)


@pytest.mark.parametrize("content", ["", "{", '{"keys": []}', '{"keys": [{"kty": "oct", "k": "AAAA"}]}'])
def test_a_new_version_that_cannot_be_used_leaves_the_keys_of_before(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    clock = HandClock()
    pair = key_pair("EdDSA")
    keys = keys_of_jwks(jwks(one=pair), tmp_path, "EdDSA", clock=clock)

    replace(tmp_path / "keys.json", content)
    for _ in range(3):
        clock.pass_by(LOOK_INTERVAL)
        assert not refused(pair.token(kid="one"), keys)

    assert [record.getMessage() for record in caplog.records] == ["token keys not renewed"]


def replace(path: Path, content: str) -> None:
    draft = path.with_suffix(".new")
    draft.write_text(content)
    os.utime(draft, ns=(1, 1))
    draft.replace(path)


@pytest.mark.parametrize(("late", "good"), [(5, True), (15, False)])
def test_clocks_may_differ_by_the_leeway_and_no_more(late: int, good: bool) -> None:
    token = secret_token(now=datetime.now(UTC) - timedelta(minutes=5, seconds=late))
    keys = TokenKeys(a_config())

    assert refused(token, keys)
    if good:
        assert read_token(token, keys, leeway=10.0).email == "me@example.org"
    else:
        with pytest.raises(InvalidToken, match="expired"):
            read_token(token, keys, leeway=10.0)


# refused tokens


def test_a_public_key_is_no_secret(tmp_path: Path) -> None:
    pair = key_pair("RS256")
    keys = keys_of(pair, tmp_path)

    for secret in (pair.public_pem, pair.public_pem.strip(), pair.public_pem.replace("\n", "\r\n")):
        for kid in ({}, {"kid": "worker"}):
            assert refused(hmac_token({"alg": "HS256", "typ": "JWT", **kid}, CLAIMS, secret.encode()), keys)


@pytest.mark.parametrize(
    "named", ["none", "None", "NONE", "HS256", "HS512", "RS512", "PS256", "ES256", "", None, 1, []]
)
def test_a_header_that_names_another_algorithm_than_the_keys_is_refused(tmp_path: Path, named: Any) -> None:
    keys = keys_of(key_pair("RS256"), tmp_path)

    for secret in (b"", SECRET.encode(), key_pair("RS256").public_pem.encode()):
        token = hmac_token({"alg": named, "typ": "JWT"}, {**CLAIMS, "scope": "tasks:write admin"}, secret)
        if (named, secret) == ("HS256", SECRET.encode()):
            # A token signed with the workers' secret is good for no call of callers.
            assert read_token(token, keys).scopes == set()
        else:
            assert refused(token, keys)
            assert refused(token.rpartition(".")[0] + ".", keys)


def test_a_key_of_another_type_is_not_tried_for_a_kid(tmp_path: Path) -> None:
    rsa, ed = key_pair("RS256"), key_pair("EdDSA")
    keys = keys_of_jwks(jwks(one=rsa, two=ed), tmp_path, "RS256")

    assert refused(ed.token(kid="two"), keys)
    assert refused(ed.token(kid="one"), keys)
    assert refused(hmac_token({"alg": "HS256", "kid": "one"}, CLAIMS, rsa.public_pem.encode()), keys)


@pytest.mark.parametrize(
    "kid", [1, None, ["one"], {"a": 1}, "", "../../etc/passwd", "x" * 5000, "\ud800", True], ids=repr
)
def test_a_kid_that_is_none_of_ours_is_refused(kid: Any) -> None:
    token = hmac_token({"alg": "HS256", "kid": kid}, CLAIMS, SECRET.encode())

    assert refused(token, TokenKeys(a_config()))


@pytest.mark.parametrize(
    "header",
    [
        {"jku": "http://127.0.0.1:1/keys.json"},
        {"x5u": "http://127.0.0.1:1/certificate.pem"},
        {"jwk": key_pair("RS256", 1).public_jwk},
        {"x5c": ["AAAA"]},
    ],
    ids=lambda header: next(iter(header)),
)
def test_keys_that_a_header_brings_along_are_not_looked_at(tmp_path: Path, header: dict[str, Any]) -> None:
    ours, theirs = key_pair("RS256"), key_pair("RS256", 1)
    keys = keys_of(ours, tmp_path)

    assert refused(jwt.encode(CLAIMS, theirs.private_pem, algorithm="RS256", headers=header), keys)
    assert not refused(jwt.encode(CLAIMS, ours.private_pem, algorithm="RS256", headers=header), keys)


@pytest.mark.parametrize("crit", [["exp"], ["b64"], [], "b64", None])
def test_what_a_token_calls_critical_is_not_understood(crit: Any) -> None:
    token = hmac_token({"alg": "HS256", "crit": crit, "b64": True}, CLAIMS, SECRET.encode())

    assert refused(token, TokenKeys(a_config()))


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": None},
        {"exp": "soon"},
        {"exp": 1e400},
        {"exp": -1},
        {"exp": [1]},
        {"nbf": 9_999_999_998},
        {"iat": 9_999_999_998},
        {"iat": "now"},
        {"aud": "somebody else"},
        {"email": "", "sub": ""},
        {"email": "a\nb"},
        {"email": "a\u2028b"},
        {"email": "x" * 321},
        {"email": 1},
        {"email": "\ud800"},
        {"scope": ["tasks:read"]},
        {"scope": None},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_claims_that_are_not_as_they_should_be_are_refused(changes: dict[str, Any]) -> None:
    token = hmac_token({"alg": "HS256"}, {**CLAIMS, **changes}, SECRET.encode())

    assert refused(token, TokenKeys(a_config()))


def test_a_token_without_an_end_or_a_name_is_refused() -> None:
    for missing in ("exp", "email"):
        claims = {key: value for key, value in CLAIMS.items() if key != missing}
        assert refused(hmac_token({"alg": "HS256"}, claims, SECRET.encode()), TokenKeys(a_config()))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
headers = st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jku", "zip", "cty"]), json_values)
claims = st.dictionaries(
    st.sampled_from(["exp", "nbf", "iat", "aud", "iss", "sub", "jti", "email", "scope"]), json_values
)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(header=headers, more=claims, honest=st.booleans())
def test_no_header_and_no_claims_break_the_reader(header: dict[str, Any], more: dict[str, Any], honest: bool) -> None:
    base = {"alg": "HS256"} if honest else {}
    token = hmac_token({**header, **base}, {**CLAIMS, **more}, SECRET.encode())

    try:
        caller = read_token(token, TokenKeys(a_config()))
    except InvalidToken:
        return
    assert caller.scopes <= set(Scope)
    assert caller.email


def test_deep_and_long_tokens_are_refused_cheaply() -> None:
    deep = "[" * 6000
    for part in (deep, '{"alg":' + deep):
        raw = jwt.utils.base64url_encode(part.encode()).decode()
        assert refused(f"{raw}.{raw}.x", TokenKeys(a_config()))
    assert refused(secret_token(email="x" * 300) + "x" * 9000, TokenKeys(a_config()))


# workers' tokens


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_callers_private_key_makes_no_workers_tokens(tmp_path: Path, algorithm: str) -> None:
    pair = key_pair(algorithm)
    keys = keys_of(pair, tmp_path)

    assert read_token(pair.token(scopes=list(Scope)), keys).scopes == {Scope.READ, Scope.WRITE, Scope.ADMIN}
    assert refused(pair.token(scopes=[Scope.WORKER], kid="worker"), keys)


@pytest.mark.parametrize("changes", [{}, {"worker_secret": OTHER_SECRET}], ids=["jwt_secret", "worker_secret"])
def test_with_public_keys_for_callers_the_secret_is_for_workers_alone(tmp_path: Path, changes: dict[str, str]) -> None:
    keys = keys_of(key_pair("EdDSA"), tmp_path, **changes)
    config = a_config(jwt_algorithm="EdDSA", jwt_public_key_file="x", **changes)

    token = worker_tokens(config.workers_secret, algorithm=config.hmac_algorithm, worker="worker 1")(datetime.now(UTC))

    assert read_token(token, keys) == Caller(email="worker 1", scopes=frozenset({Scope.WORKER}))
    forged = secret_token(config.workers_secret.get_secret_value(), scopes=list(Scope), kid="worker")
    assert read_token(forged, keys).scopes == {Scope.WORKER}


def test_a_workers_own_secret_makes_no_callers_tokens_and_the_callers_no_workers() -> None:
    keys = TokenKeys(a_config(worker_secret=OTHER_SECRET))

    assert read_token(secret_token(scopes=list(Scope)), keys).scopes == {Scope.READ, Scope.WRITE, Scope.ADMIN}
    assert refused(secret_token(kid="worker"), keys)
    assert refused(secret_token(OTHER_SECRET), keys)
    assert read_token(secret_token(OTHER_SECRET, scopes=list(Scope), kid="worker"), keys).scopes == {Scope.WORKER}


def test_without_one_the_secret_is_for_both() -> None:
    keys = TokenKeys(a_config())

    assert read_token(secret_token(scopes=list(Scope)), keys).scopes == set(Scope)


def test_a_workers_host_needs_no_callers_secret_but_the_scheduler_does() -> None:
    config = a_config(jwt_secret="", worker_secret=OTHER_SECRET)

    assert config.workers_secret.get_secret_value() == OTHER_SECRET
    with pytest.raises(ConfigurationError, match="jwt_secret: missing"):
        TokenKeys(config)


# messages for the operator


def entry(pair: KeyPair, **changes: Any) -> dict[str, Any]:
    return {**pair.public_jwk, "kid": "one", **changes}


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([], "no key for RS256"),
        ([entry(key_pair("EdDSA"))], "no key for RS256"),
        ([entry(key_pair("RS256"), use="enc")], "no key for RS256"),
        ([entry(key_pair("RS256"), alg="PS256")], "no key for RS256"),
        ([entry(key_pair("RS256"), kid=1)], "no key for RS256"),
        ([entry(key_pair("RS256"), n="!")], "damaged"),
        ([{"kty": "RSA", "kid": "one"}], "damaged"),
        ([entry(key_pair("RS256")), entry(key_pair("RS256", 1))], "same kid"),
        ([entry(key_pair("RS256")), entry(key_pair("RS256", 1), kid=None)], "no kid"),
        ([{**key_pair("RS256").private_jwk, "kid": "one"}], "private"),
        ([{"kty": "oct", "k": "c2VjcmV0", "kid": "one"}], "secret"),
        ([entry(key_pair("RS256", bits=1024))], "too weak"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_key_set_that_cannot_be_used_says_why(tmp_path: Path, entries: Sequence[Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as refusal:
        keys_of_jwks(json.dumps({"keys": entries}), tmp_path, "RS256")

    assert refusal.value.key == "jwt_jwks_file"
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no public key"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no public key"),
        (key_pair("RS256").private_pem, "private"),
        (key_pair("EdDSA").public_pem, "not a key for RS256"),
        (key_pair("RS256", bits=1024).public_pem, "too weak: at least 2048"),
        ("x" * 2_000_000, "larger"),
    ],
    ids=["empty", "damaged", "private", "other", "weak", "large"],
)
def test_a_public_key_that_cannot_be_used_says_why(tmp_path: Path, content: str, said: str) -> None:
    path = public_file(tmp_path, content)

    with pytest.raises(ConfigurationError, match=said) as refusal:
        TokenKeys(a_config(jwt_algorithm="RS256", jwt_public_key_file=path))

    assert refusal.value.key == "jwt_public_key_file"
    assert "\n" not in str(refusal.value)
    assert "PRIVATE" not in str(refusal.value)


@pytest.mark.parametrize("key", ["jwt_public_key_file", "jwt_jwks_file"])
def test_a_key_file_that_is_not_there_is_named(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere cannot be read") as refusal:
        TokenKeys(a_config(jwt_algorithm="EdDSA", **{key: str(tmp_path / "nowhere")}))

    assert refusal.value.key == key


def test_an_asymmetric_algorithm_without_a_key_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="jwt_public_key_file: missing"):
        TokenKeys(a_config(jwt_algorithm="RS256"))
