"""The tests' small archive has the wanted packages and their dependencies."""

from __future__ import annotations

import http.client
import lzma
from dataclasses import dataclass, field
from pathlib import Path

from tests.corpus.deb_builder import SigningKey
from tests.support.mirror import Answer, Memory
from tests.support.small_archive import SmallArchive, closure, names_in

PACKAGES = """\
Package: hello
Depends: libc6 (>= 2.34), debconf | debconf-2.0
Filename: pool/hello.deb

Package: libc6
Filename: pool/libc6.deb

Package: debconf
Pre-Depends: perl-base
Provides: debconf-2.0

Package: cdebconf
Provides: debconf-2.0

Package: perl-base

Package: exim4
Provides: mail-transport-agent

Package: unrelated
Depends: hello
"""
STANZAS = PACKAGES.strip().split("\n\n")


@dataclass
class OneSuite(Memory):
    """Debian's server with one suite."""

    asked: list[str] = field(default_factory=list)

    def get(self, url: str) -> Answer:
        self.asked.append(url)
        files = {
            "main/binary-amd64/Packages.xz": lzma.compress(PACKAGES.encode()),
            "InRelease": b"Origin: Debian\nCodename: bookworm\nAcquire-By-Hash: yes\nSHA256:\n abc 1 main/other\n",
        }
        body = files.get(url.removeprefix("http://deb.debian.org/debian/dists/bookworm/"))
        return Answer(http.client.NOT_FOUND if body is None else http.client.OK, body or b"", {})


class NoKey(SigningKey):
    def clearsigned(self, text: bytes) -> bytes:
        return text


def test_names_are_read_with_versions_and_alternatives() -> None:
    assert names_in("libc6 (>= 2.34), debconf (>= 0.5) | debconf-2.0") == {"libc6", "debconf", "debconf-2.0"}


def test_what_is_wanted_comes_with_all_that_it_may_need() -> None:
    assert closure(["hello"], STANZAS) == {"hello", "libc6", "debconf", "debconf-2.0", "cdebconf", "perl-base"}


def test_what_only_a_name_stands_for_is_provided() -> None:
    assert "exim4" in closure(["mail-transport-agent"], STANZAS)
    assert "exim4" not in closure(["hello"], STANZAS)


def test_the_index_has_no_more_and_the_release_file_says_whose_it_is() -> None:
    memory = OneSuite()
    archive = SmallArchive(frozenset({"libc6"}), NoKey(Path(), ""), memory)
    suite = "http://deb.debian.org/debian/dists/bookworm"

    index = archive.get(f"{suite}/main/binary-amd64/Packages").body.decode()
    release = archive.get(f"{suite}/InRelease").body.decode()

    assert index == "Package: libc6\nFilename: pool/libc6.deb\n\n"
    assert "Origin: Debian\n" in release
    assert "main/other" not in release
    assert "By-Hash" not in release
    assert f"{len(index)} main/binary-amd64/Packages" in release


def test_a_suite_that_is_not_there_is_not_there() -> None:
    archive = SmallArchive(frozenset({"libc6"}), NoKey(Path(), ""), OneSuite())

    answer = archive.get("http://deb.debian.org/debian/dists/bookworm-updates/InRelease")

    assert answer.status == http.client.NOT_FOUND


def test_everything_else_is_debian_s_own() -> None:
    memory = OneSuite()
    archive = SmallArchive(frozenset({"libc6"}), NoKey(Path(), ""), memory)

    archive.get("http://deb.debian.org/debian/pool/libc6.deb")

    assert memory.asked == ["http://deb.debian.org/debian/pool/libc6.deb"]
