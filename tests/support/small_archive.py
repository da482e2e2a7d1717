"""A Debian archive with a few packages. apt needs a second to read sixty thousand packages, and no time for a hundred.

It answers like Debian's servers, from their answers. Its indexes are cut down to the wanted packages and all their
dependencies, and signed with its own key.
"""

from __future__ import annotations

import hashlib
import http.client
import lzma
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from alts.core.instance import InstanceFile
from tests.corpus.deb_builder import SigningKey, signing_key
from tests.corpus.debs import Deb
from tests.support.mirror import Answer, Memory

HOSTS = ("deb.debian.org", "security.debian.org")

# http://deb.debian.org/debian/dists/bookworm-updates/main/binary-amd64/Packages.xz
_SUITE = re.compile(r"(?P<archive>http://[^/]+/\S+?)/dists/(?P<suite>[^/]+)/(?P<file>\S+)")
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_DEPENDS = re.compile(r"^(?:Pre-)?Depends: (.*)$", re.MULTILINE)
_PROVIDES = re.compile(r"^Provides: (.*)$", re.MULTILINE)
# These fields of a Release file are replaced: they describe other files, or let apt ask for those by checksum.
_KEPT = re.compile(
    r"^(?:Origin|Label|Suite|Version|Codename|Date|Valid-Until|Components|Description): .*$", re.MULTILINE
)
_MAIN = "http://deb.debian.org/debian"
_ARCHITECTURE = "amd64"
_INDEX = f"main/binary-{_ARCHITECTURE}/Packages"

_MISSING = Answer(http.client.NOT_FOUND, b"", {})


@dataclass
class SmallArchive:
    """The servers behind a mirror, cut down; an alternative to Memory."""

    wanted: frozenset[str]
    key: SigningKey
    memory: Memory = field(default_factory=Memory)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _names: dict[str, frozenset[str]] = field(default_factory=dict)
    """Release, e.g. "bookworm" → the packages in its indexes."""
    _suites: dict[str, Mapping[str, Answer]] = field(default_factory=dict)
    """Address of a suite → its files."""

    def get(self, url: str) -> Answer:
        """Answer a GET of the address."""
        match = _SUITE.fullmatch(url)
        if match is None:
            return self.memory.get(url)
        with self._lock:
            where = f"{match['archive']}/dists/{match['suite']}"
            if where not in self._suites:
                self._suites[where] = dict(self._files(where, match["suite"]))
            return self._suites[where].get(match["file"], _MISSING)

    def _files(self, where: str, suite: str) -> Iterator[tuple[str, Answer]]:
        stanzas = self._stanzas(where)
        if not stanzas:
            return
        names = self._names_of(suite.partition("-")[0])
        index = "".join(f"{stanza}\n\n" for stanza in stanzas if _name_of(stanza) in names).encode()
        yield _INDEX, Answer(http.client.OK, index, {"Content-Type": "application/octet-stream"})
        release = self.key.clearsigned(self._release(where, index))
        yield "InRelease", Answer(http.client.OK, release, {"Content-Type": "text/plain"})

    def _names_of(self, codename: str) -> frozenset[str]:
        if codename not in self._names:
            self._names[codename] = closure(self.wanted, self._stanzas(f"{_MAIN}/dists/{codename}"))
        return self._names[codename]

    def _stanzas(self, where: str) -> list[str]:
        answer = self.memory.get(f"{where}/{_INDEX}.xz")
        return lzma.decompress(answer.body).decode().strip().split("\n\n") if answer.status == http.client.OK else []

    def _release(self, where: str, index: bytes) -> bytes:
        theirs = self.memory.get(f"{where}/InRelease").body.decode()
        digest = hashlib.sha256(index).hexdigest()
        lines = [
            *_KEPT.findall(theirs),
            f"Architectures: {_ARCHITECTURE}",
            "SHA256:",
            f" {digest} {len(index)} {_INDEX}",
        ]
        return ("\n".join(lines) + "\n").encode()


def _name_of(stanza: str) -> str:
    return stanza.partition("\n")[0].removeprefix("Package: ")


def closure(wanted: Iterable[str], stanzas: Iterable[str]) -> frozenset[str]:
    """Return the wanted packages and everything they may need, including all alternatives and providers."""
    depends: dict[str, set[str]] = {}
    providers: dict[str, set[str]] = {}
    for stanza in stanzas:
        name = _name_of(stanza)
        depends.setdefault(name, set()).update(names_in(", ".join(_DEPENDS.findall(stanza))))
        for virtual in names_in(", ".join(_PROVIDES.findall(stanza))):
            providers.setdefault(virtual, set()).add(name)
    found: set[str] = set()
    left = set(wanted)
    while left:
        name = left.pop()
        if name in found:
            continue
        found.add(name)
        left |= depends.get(name) or (providers.get(name, set()) if name not in depends else set())
    return frozenset(found)


def names_in(relations: str) -> set[str]:
    """Return the names in a field, e.g. "libc6 (>= 2.34), debconf | debconf-2.0"."""
    parts = re.split(r"[,|]", relations)
    return {match[0] for part in parts if (match := _NAME.match(part.strip()))}


def names_in_fields(*debs: Deb) -> set[str]:
    """The packages that any of these packages may mean."""
    return {name for deb in debs for value in deb.fields.values() for name in names_in(value)}


@contextmanager
def small_archive(wanted: Iterable[str]) -> Iterator[SmallArchive]:
    with signing_key() as key:
        yield SmallArchive(frozenset(wanted), key)


def machine_files(archive: SmallArchive, proxy: str) -> list[InstanceFile]:
    """Return files that make a machine use the archive through that mirror instead of Debian's servers."""
    lines = [f'Acquire::http::Proxy::{host} "{proxy}";\n' for host in HOSTS]
    return [
        InstanceFile("/etc/apt/apt.conf.d/95proxy", "".join(lines)),
        InstanceFile("/etc/apt/trusted.gpg.d/tests.asc", archive.key.public),
    ]
