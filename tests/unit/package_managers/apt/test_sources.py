"""Repositories in apt's configuration."""

from __future__ import annotations

import pytest

from alts.package_managers.apt.manager import Apt
from alts.package_managers.apt.sources import deb822_source, preferences
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

    files = Apt().files(spec.platform, spec.repositories)
    paths = [file.path for file in files if file.path.startswith("/etc/apt/sources.list.d/")]

    assert len(paths) == len(set(paths)) == 2


def test_a_key_is_used_for_its_repository_alone() -> None:
    spec = a_spec(repositories=[{"url": "http://a.example/"}, {"url": "http://b.example/", "gpg_key": KEY}])

    files = {file.path: file.content for file in Apt().files(spec.platform, spec.repositories)}

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
