"""Repositories in apt's configuration, and whose fault a broken one is."""

from __future__ import annotations

import pytest

from alts.package_managers.apt.manager import Apt
from alts.package_managers.apt.sources import deb822_source, preferences, repository_findings
from alts.shared.models.report import Kind
from alts.shared.models.repository import Repository
from tests.support.builders import a_spec

KEY = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDMEZAAAAA==\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n"


@pytest.mark.parametrize(
    ("repository", "stanza"),
    [
        (
            {"url": "deb http://a.example/debian sid main contrib"},
            "Types: deb\nURIs: http://a.example/debian\nSuites: sid\nComponents: main contrib\n",
        ),
        ({"url": "http://a.example/flat/"}, "Types: deb\nURIs: http://a.example/flat/\nSuites: ./\n"),
        (
            {"url": "http://a.example/flat", "trusted": True},
            "Types: deb\nURIs: http://a.example/flat\nSuites: ./\nTrusted: yes\n",
        ),
        (
            {"url": "deb [arch=amd64,i386 trusted=yes] http://a.example/debian sid main"},
            "Types: deb\nURIs: http://a.example/debian\nSuites: sid\nComponents: main\n"
            "Architectures: amd64 i386\nTrusted: yes\n",
        ),
    ],
    ids=["deb-line", "flat", "trusted", "options"],
)
def test_a_repository_becomes_a_deb822_stanza(repository: dict[str, object], stanza: str) -> None:
    assert deb822_source(Repository.model_validate(repository)) == stanza


def test_every_repository_has_a_file_of_its_own() -> None:
    spec = a_spec(repositories=[{"url": "http://a.example/"}, {"url": "http://b.example/"}])

    paths = [file.path for file in Apt().files(spec) if file.path.startswith("/etc/apt/sources.list.d/")]

    assert len(paths) == len(set(paths)) == 2


def test_a_key_is_used_for_its_repository_alone() -> None:
    spec = a_spec(repositories=[{"url": "http://a.example/"}, {"url": "http://b.example/", "gpg_key": KEY}])

    files = {file.path: file.content for file in Apt().files(spec)}

    assert files["/etc/apt/keyrings/alts-2.asc"] == KEY
    assert "Signed-By: /etc/apt/keyrings/alts-2.asc\n" in files["/etc/apt/sources.list.d/alts-2.sources"]
    assert "Signed-By" not in files["/etc/apt/sources.list.d/alts-1.sources"]


def test_a_priority_becomes_a_pin_on_the_host() -> None:
    repositories = [
        Repository(url="http://b.example:8000/x", priority=900),
        Repository(url="http://b.example/y", priority=900),
        Repository(url="http://a.example/z"),
    ]

    assert preferences(repositories) == 'Package: *\nPin: origin "b.example"\nPin-Priority: 900\n'


REPOSITORY = "http://172.17.0.1:8000/debian"
OUTPUTS = {
    "said-twice": (
        f"W: GPG error: {REPOSITORY} ./ Release: The following signatures were invalid: BADSIG 01 x\n"
        f"E: The repository '{REPOSITORY} ./ Release' is not signed.\n",
        [Kind.SIGNATURE_INVALID],
    ),
    "debian-13": (
        f"W: OpenPGP signature verification failed: {REPOSITORY} ./ Release: Sub-process /usr/bin/sqv returned an "
        "error code (1), error message is: Missing key 01, which is needed to verify signature.\n"
        f"E: The repository '{REPOSITORY} ./ Release' is not signed.\n",
        [Kind.SIGNATURE_INVALID],
    ),
    "a-neighbour": (f"E: The repository '{REPOSITORY}0 ./ Release' is not signed.\n", [Kind.REPOSITORY_UNREACHABLE]),
    "the-distribution-s-own-host": (
        "E: Failed to fetch http://deb.debian.org/debian/pool/h.deb  Hash Sum mismatch\n",
        [Kind.REPOSITORY_UNREACHABLE],
    ),
    "its-own-host": (f"E: Failed to fetch {REPOSITORY}/pool/h.deb  Hash Sum mismatch\n", [Kind.CHECKSUM_MISMATCH]),
}


@pytest.mark.parametrize(("output", "kinds"), OUTPUTS.values(), ids=OUTPUTS)
def test_trouble_is_said_once_and_of_whom_it_is(output: str, kinds: list[Kind]) -> None:
    repositories = [{"url": REPOSITORY}, {"url": "http://deb.debian.org/debian bookworm-backports main"}]

    findings = repository_findings(a_spec(repositories=repositories), output)

    assert [finding.kind for finding in findings] == kinds


def test_what_apt_thinks_of_a_signature_is_no_matter_where_the_repository_is_trusted() -> None:
    said = f"{REPOSITORY} ./ Release: The following signatures couldn't be verified: NO_PUBKEY 01"
    spec = a_spec(repositories=[{"url": REPOSITORY, "trusted": True}])

    assert list(repository_findings(spec, f"W: GPG error: {said}\n")) == []
    assert [found.kind for found in repository_findings(spec, f"E: GPG error: {said}\n")] == [Kind.SIGNATURE_INVALID]


def test_the_address_that_a_name_had_this_time_is_no_evidence() -> None:
    output = "E: Failed to fetch http://m.example/x  503  Unavailable [IP: 192.0.2.7 80]\n"

    [finding] = repository_findings(a_spec(), output)

    assert finding.evidence == "E: Failed to fetch http://m.example/x  503  Unavailable"
