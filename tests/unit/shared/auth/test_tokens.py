"""Issued tokens can be read, and nothing else can."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from alts.shared.auth.tokens import CALLER_SCOPES, Scope, issue_token, read_token
from alts.shared.errors import InvalidToken
from tests.support.builders import SECRET
from tests.support.one_secret import OneSecret

KEY = SecretStr(SECRET)
KEYS = OneSecret(KEY, "HS256")
HOUR = timedelta(hours=1)


def a_token(**changes: Any) -> str:
    return issue_token(KEY, **{"algorithm": "HS256", "email": "me@example.org", "lifetime": HOUR, **changes})


def signed(claims: dict[str, Any], *, key: str = SECRET, algorithm: str = "HS256") -> str:
    return jwt.encode(claims, key, algorithm=algorithm)


def in_an_hour() -> datetime:
    return datetime.now(UTC) + HOUR


@settings(max_examples=30, deadline=1000)
@given(
    algorithm=st.sampled_from(["HS256", "HS384", "HS512"]),
    email=st.emails(),
    scopes=st.sets(st.sampled_from(list(Scope)), min_size=1),
)
def test_whatever_is_issued_is_read_back(algorithm: str, email: str, scopes: set[Scope]) -> None:
    token = issue_token(KEY, algorithm=algorithm, email=email, lifetime=HOUR, scopes=scopes)

    caller = read_token(token, OneSecret(KEY, algorithm))

    assert caller.email == email
    assert caller.scopes == scopes


def test_a_callers_token_reads_and_writes_but_is_no_workers() -> None:
    caller = read_token(a_token(), KEYS)

    assert caller.scopes == set(CALLER_SCOPES)
    assert Scope.WORKER not in caller.scopes


def test_a_token_from_before_scopes_existed_reads_and_writes() -> None:
    token = signed({"email": "me@example.org", "exp": in_an_hour()})

    assert read_token(token, KEYS).scopes == set(CALLER_SCOPES)


def test_an_expired_token_is_refused_and_says_so() -> None:
    token = a_token(now=datetime.now(UTC) - timedelta(hours=2))

    with pytest.raises(InvalidToken, match="expired"):
        read_token(token, KEYS)


def test_a_token_without_an_end_is_refused() -> None:
    with pytest.raises(InvalidToken, match="exp"):
        read_token(signed({"email": "me@example.org"}), KEYS)


def test_a_token_of_another_secret_is_refused() -> None:
    token = signed({"exp": in_an_hour()}, key=SECRET[::-1])

    with pytest.raises(InvalidToken):
        read_token(token, KEYS)


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_a_token_of_another_algorithm_is_refused(algorithm: str) -> None:
    token = signed({"exp": in_an_hour()}, algorithm=algorithm)

    with pytest.raises(InvalidToken):
        read_token(token, KEYS)


def test_a_token_that_says_it_needs_no_signature_is_refused() -> None:
    def part(data: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(data).encode()).rstrip(b"=").decode()

    token = f"{part({'alg': 'none'})}.{part({'email': 'me@example.org', 'exp': 9_999_999_999})}."

    with pytest.raises(InvalidToken):
        read_token(token, KEYS)


@pytest.mark.parametrize("claims", [{"scope": ["worker"]}, {"scope": 1}, {"email": {"a": 1}}], ids=str)
def test_claims_of_the_wrong_type_are_refused(claims: dict[str, Any]) -> None:
    with pytest.raises(InvalidToken):
        read_token(signed({"exp": in_an_hour(), **claims}), KEYS)


@settings(max_examples=50, deadline=1000)
@given(st.text(max_size=60))
def test_any_text_is_refused_and_never_breaks(text: str) -> None:
    with pytest.raises(InvalidToken):
        read_token(text, KEYS)


@pytest.mark.parametrize("position", range(3), ids=["header", "claims", "signature"])
def test_a_token_that_was_changed_is_refused(position: int) -> None:
    parts = a_token().split(".")
    changed = "B" if parts[position][4] == "A" else "A"
    parts[position] = parts[position][:4] + changed + parts[position][5:]

    with pytest.raises(InvalidToken):
        read_token(".".join(parts), KEYS)
