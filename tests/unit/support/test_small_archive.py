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
SUITE = "http://deb.debian.org/debian/dists/bookworm"
INDEX = f"{SUITE}/main/binary-amd64/Packages"


@dataclass
class OneSuite(Memory):
    """Debian's server with one suite."""

    packages: str = PACKAGES
    """Empty if the server has no index."""
    release: bytes = b"Origin: Debian\nCodename: bookworm\nAcquire-By-Hash: yes\nSHA256:\n abc 1 main/other\n"
    asked: list[str] = field(default_factory=list)

    def get(self, url: str) -> Answer:
        self.asked.append(url)
        files = {
            f"{INDEX}.xz": lzma.compress(self.packages.encode()) if self.packages else None,
            f"{SUITE}/InRelease": self.release,
        }
        body = files.get(url)
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


def an_archive(kept: Path, memory: Memory, *, wanted: str = "libc6") -> SmallArchive:
    return SmallArchive(frozenset({wanted}), NoKey(Path(), ""), memory, kept=kept)


def test_the_index_has_no_more_and_the_release_file_says_whose_it_is(tmp_path: Path) -> None:
    archive = an_archive(tmp_path, OneSuite())

    index = archive.get(INDEX).body.decode()
    release = archive.get(f"{SUITE}/InRelease").body.decode()

    assert index == "Package: libc6\nFilename: pool/libc6.deb\n\n"
    assert "Origin: Debian\n" in release
    assert "main/other" not in release
    assert "By-Hash" not in release
    assert f"{len(index)} main/binary-amd64/Packages" in release


def test_a_cut_index_is_read_again_by_the_next_archive_with_the_same_packages(tmp_path: Path) -> None:
    first = an_archive(tmp_path, OneSuite()).get(INDEX)
    memory = OneSuite()

    assert an_archive(tmp_path, memory).get(INDEX) == first
    assert f"{INDEX}.xz" not in memory.asked
    assert b"perl-base" in an_archive(tmp_path, memory, wanted="debconf").get(INDEX).body
    assert f"{INDEX}.xz" in memory.asked


def test_an_index_is_cut_anew_when_debian_s_has_changed(tmp_path: Path) -> None:
    an_archive(tmp_path, OneSuite()).get(INDEX)
    newer = OneSuite(packages=PACKAGES.replace("pool/libc6.deb", "pool/libc6-new.deb"), release=b"Date: later\n")

    assert b"libc6-new.deb" in an_archive(tmp_path, newer).get(INDEX).body
    assert len(list(tmp_path.iterdir())) == 1


def test_what_the_server_does_not_have_now_is_asked_for_again(tmp_path: Path) -> None:
    memory = OneSuite(packages="")
    archive = an_archive(tmp_path, memory)
    missing = archive.get(INDEX)
    memory.packages = PACKAGES

    assert missing.status == http.client.NOT_FOUND
    assert archive.get(INDEX).status == http.client.OK


def test_a_suite_that_is_not_there_is_not_there(tmp_path: Path) -> None:
    archive = an_archive(tmp_path, OneSuite())

    answer = archive.get("http://deb.debian.org/debian/dists/bookworm-updates/InRelease")

    assert answer.status == http.client.NOT_FOUND


def test_everything_else_is_debian_s_own(tmp_path: Path) -> None:
    memory = OneSuite()
    archive = an_archive(tmp_path, memory)

    archive.get("http://deb.debian.org/debian/pool/libc6.deb")

    assert memory.asked == ["http://deb.debian.org/debian/pool/libc6.deb"]
