"""Requests: which are accepted, which are refused, and for which field."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from alts.shared.models.repository import Repository
from alts.shared.models.task_spec import TaskSpec
from tests.support.builders import a_spec


def refused_field(**changes: Any) -> str:
    """Return the field that the refusal names, e.g. "package_name"."""
    with pytest.raises(ValidationError) as refusal:
        a_spec(**changes)
    return ".".join(str(part) for part in refusal.value.errors()[0]["loc"])


@pytest.mark.parametrize("version", ["12", 12, 12.0])
def test_a_version_may_be_text_or_a_number(version: Any) -> None:
    assert a_spec(dist_version=version).dist_version == "12"


@pytest.mark.parametrize("version", [True, None, [], {}, "", "12 ", 12.5, "9", float("nan"), float("inf"), 10**300])
def test_a_version_that_is_none_is_refused(version: Any) -> None:
    assert refused_field(dist_version=version) == "dist_version"


def test_a_refused_version_says_which_there_are() -> None:
    with pytest.raises(ValidationError, match="choose one of: 11, 12, 13"):
        a_spec(dist_version="9")


def test_a_refused_distribution_says_which_there_are() -> None:
    with pytest.raises(ValidationError, match=r"choose one of: .*debian"):
        a_spec(dist_name="plan9")


@pytest.mark.parametrize("name", ["hello", "libstdc++6", "g++", "0ad", "python3.11", "a1", "x-y.z+"])
def test_debian_names_are_accepted(name: str) -> None:
    assert a_spec(package_name=name).package_name == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a",
        "Hello",
        "-y",
        "+foo",
        ".foo",
        "a b",
        "a;b",
        "a\nb",
        "hello\n",
        "a/b",
        "a=1",
        "a:i386",
        "ü2",
        "$(x)",
        "a'",
    ],
)
def test_what_is_no_debian_name_is_refused(name: str) -> None:
    assert refused_field(package_name=name) == "package_name"


@pytest.mark.parametrize("version", ["2.10-3", "1:2.3", "0", "1~rc1", "1.0+dfsg-1~bpo12+1"])
def test_debian_versions_are_accepted(version: str) -> None:
    assert a_spec(package_version=version).package_version == version


@pytest.mark.parametrize("version", ["", "a", "-1", "1 2", "1;2", "1\n", ":1", "1:", "x:1", "1:2:3", "*", "1/2"])
def test_what_is_no_debian_version_is_refused(version: str) -> None:
    assert refused_field(package_version=version) == "package_version"


@pytest.mark.parametrize(
    ("url", "source"),
    [
        ("http://example.org/debian bookworm main", ("http://example.org/debian", "bookworm", ("main",))),
        ("deb http://example.org/d bookworm main contrib", ("http://example.org/d", "bookworm", ("main", "contrib"))),
        ("https://example.org:8443/flat", ("https://example.org:8443/flat", "./", ())),
        ("http://example.org/r stable/updates main", ("http://example.org/r", "stable/updates", ("main",))),
        ("http://[::1]/r ./", ("http://[::1]/r", "./", ())),
        ("deb https://example.org/cuda/debian12/x86_64/ /", ("https://example.org/cuda/debian12/x86_64/", "/", ())),
        ("\tdeb  http://example.org/d \t sid   main # ours\n", ("http://example.org/d", "sid", ("main",))),
        (
            "Types: deb deb-src\nURIs: http://example.org/d\nSuites: sid\nComponents: main\nEnabled: yes\n",
            ("http://example.org/d", "sid", ("main",)),
        ),
        ("Types: deb\nURIs: http://example.org/d\nSuites: /\n", ("http://example.org/d", "/", ())),
    ],
)
def test_repositories_are_read_like_sources_list(url: str, source: tuple[str, str, tuple[str, ...]]) -> None:
    assert Repository(url=url).source == source


@pytest.mark.parametrize(
    "url",
    [
        "",
        "deb",
        "ftp://example.org/",
        "file:///etc",
        "http://user:secret@example.org/",
        "http://user@example.org/",
        "http://:@example.org/",
        "HTTP://example.org/",
        "http:///debian bookworm main",
        "http://[::1/",
        "http://[:::]/",
        "http://example.org:99999/",
        "http://example.org:0/",
        "http://example.org:/:80/\r",
        "http://a..b/",
        "http://.example.org/",
        "http://" + "a" * 64 + ".org/",
        "http://" + "a." * 140 + "org/",
        "http://example.org/" + "a" * 2000,
        "http://exämple.org/",
        "http://example.org\u3002/",
        "http://example\u200b.org/",
        "http://example.org%00/",
        "http://example.org\0/",
        "http://example.org\\@127.0.0.1/",
        "http://example.org/?a=b",
        "http://example.org/#a",
        "http://example.org/a\nb",
        "http://example.org/debian bookworm",
        "http://example.org/debian ./ main",
        "http://example.org/debian bookworm main [trusted=yes]",
        "deb [signed-by=/etc/key] http://example.org/debian bookworm main",
        "deb [trusted=no] http://example.org/debian bookworm main",
        "http://example.org/debian bookworm ma;in",
        "http://example.org/$(id)",
        "-o Dir::Etc=/x",
    ],
)
def test_what_is_no_repository_is_refused(url: str) -> None:
    assert refused_field(repositories=[{"url": url}]) == "repositories.0.url"


KEY = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDMEZAAAAA==\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n"


@pytest.mark.parametrize(
    ("url", "canonical", "trusted", "key"),
    [
        ("deb [trusted=yes] http://a.example/d sid main", "http://a.example/d sid main", True, None),
        ("deb [ arch=amd64 ] http://a.example/d sid main", "deb [arch=amd64] http://a.example/d sid main", False, None),
        (
            "# as its owners say\nTypes: deb\nURIs: http://a.example/d\nSuites: sid\nComponents: main\n contrib\n",
            "http://a.example/d sid main contrib",
            False,
            None,
        ),
        ("Types: deb\nURIs: http://a.example/d\nSuites: ./\nTrusted: yes", "http://a.example/d ./", True, None),
        (
            "Types: deb\nURIs: http://a.example/d\nSuites: ./\nSigned-By:\n"
            + "".join(f" {line or '.'}\n" for line in KEY.splitlines()),
            "http://a.example/d ./",
            False,
            KEY,
        ),
    ],
    ids=["trusted", "arch", "stanza", "trusted-stanza", "stanza-with-key"],
)
def test_what_a_line_or_a_stanza_says_becomes_fields(
    url: str, canonical: str, *, trusted: bool, key: str | None
) -> None:
    repository = Repository(url=url)

    assert (repository.url, repository.trusted, repository.gpg_key) == (canonical, trusted, key)
    assert Repository.model_validate_json(repository.model_dump_json()) == repository


@pytest.mark.parametrize(
    ("stanza", "advice"),
    [
        ("Types: deb-src\nURIs: http://a.example/\nSuites: ./", "Types: deb"),
        ("Types: deb\nURIs: http://a.example/ http://b.example/\nSuites: ./", "exactly one word in URIs"),
        (
            "Types: deb\nURIs: http://a.example/\nSuites: sid experimental\nComponents: main",
            "exactly one word in Suites",
        ),
        ("Types: deb\nURIs: http://a.example/\nSuites: ./\nSigned-By: /usr/share/keyrings/x.gpg", "gpg_key"),
        ("Types: deb\nURIs: http://a.example/\nSuites: ./\nCheck-Valid-Until: no", "choose one of: types, uris"),
        ("Types: deb\nURIs: http://a.example/\nSuites: ./\nEnabled: no", "a disabled repository"),
        ("Types: deb\nURIs: file:/x\nSuites: ./", "only http:// and https:// URLs"),
        ("Types: deb\nURIs: http://a.example/\nSuites: ./\n\nTypes: deb\nURIs: http://b.example/\nSuites: ./", "one"),
    ],
)
def test_a_stanza_that_cannot_be_used_is_refused_with_advice(stanza: str, advice: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(advice)):
        Repository(url=stanza)


@pytest.mark.parametrize("key", ["https://a.example/key.asc", KEY, KEY.replace("\n", "\r\n"), f"\n{KEY}\n"])
def test_a_key_is_an_address_or_an_armored_text(key: str) -> None:
    accepted = Repository(url="http://a.example/", gpg_key=key).gpg_key

    assert accepted == (key if key.startswith("https") else KEY)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "ABCD1234",
        "ftp://a.example/key",
        "https://user:secret@a.example/key",
        KEY.replace("PUBLIC", "PRIVATE"),
        KEY.replace("mDME", "mDM*"),
        KEY.replace("mDME", "mDM"),
        KEY.removesuffix("-----END PGP PUBLIC KEY BLOCK-----\n"),
    ],
)
def test_what_is_no_key_is_refused(key: str) -> None:
    assert refused_field(repositories=[{"url": "http://a.example/", "gpg_key": key}]) == "repositories.0.gpg_key"


def test_a_repository_is_trusted_or_checked_but_not_both() -> None:
    repository = {"url": "http://a.example/", "trusted": True, "gpg_key": KEY}

    assert refused_field(repositories=[repository]) == "repositories.0.gpg_key"


@pytest.mark.parametrize("priority", [0, -1, 1001, "500", 1.5, True])
def test_a_priority_that_means_nothing_is_refused(priority: Any) -> None:
    assert refused_field(repositories=[{"url": "http://a.example/", "priority": priority}]) == "repositories.0.priority"


def test_priorities_that_apt_cannot_tell_apart_are_refused() -> None:
    repositories = [{"url": "http://a.example/x", "priority": 900}, {"url": "http://a.example:81/y"}]

    assert refused_field(repositories=repositories) == "repositories"


def test_a_plan_that_does_not_exist_is_refused() -> None:
    assert a_spec().plan == "standard"
    assert refused_field(plan="fast") == "plan"


@pytest.mark.parametrize("name", ["", "a b", "../x", "a/b", ".hidden", "a\n"])
def test_a_repository_name_that_is_no_file_name_is_refused(name: str) -> None:
    assert refused_field(repositories=[{"name": name, "url": "http://example.org/"}]) == "repositories.0.name"


def test_more_repositories_than_anybody_needs_are_refused() -> None:
    assert refused_field(repositories=[{"url": "http://example.org/"}] * 21) == "repositories"


def test_a_field_that_does_not_exist_is_refused() -> None:
    assert refused_field(packge_version="1") == "packge_version"


def test_a_request_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValidationError):
        setattr(a_spec(), "package_name", "other")  # noqa: B010 - mypy refuses the plain assignment, too


@settings(max_examples=100, deadline=1000)
@given(st.text(max_size=40))
def test_an_accepted_name_holds_nothing_that_means_something_to_a_shell_or_an_option_parser(name: str) -> None:
    try:
        accepted = a_spec(package_name=name).package_name
    except ValidationError:
        return
    assert accepted == name
    assert not name.startswith("-")
    assert not set(name) & set(" \t\n\r\0'\"\\$`;&|<>(){}[]*?!#~=/:%")


@settings(max_examples=50, deadline=1000)
@given(
    spec=st.builds(
        a_spec,
        dist_version=st.sampled_from(["11", 12, 13.0]),
        dist_arch=st.sampled_from(["x86_64", "i686", "amd64", "aarch64", "arm64"]),
        runner_type=st.sampled_from(["docker", "any"]),
        package_version=st.none() | st.just("1:2.10-3"),
        repositories=st.lists(st.just({"url": "http://example.org/debian bookworm main"}), max_size=3),
    )
)
def test_a_request_survives_the_way_through_json(spec: TaskSpec) -> None:
    assert TaskSpec.model_validate_json(spec.model_dump_json()) == spec
