"""A Debian archive with a few packages. apt needs a second to read sixty thousand packages, and no time for a hundred.

It answers like Debian's servers, from their answers. Its indexes are cut down to the wanted packages and all their
dependencies, and signed with its own key. Cutting takes a second of processor time for each release, so the cut indexes
are kept on disk until Debian's change.
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
from pathlib import Path

from alts.core.instance import InstanceFile
from alts.shared.atomic_file import write_atomically
from tests.corpus.deb_builder import SigningKey, signing_key
from tests.corpus.debs import Deb
from tests.support.checkout import ROOT
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

SHARED = ROOT / ".alts/small-archives"
"""The folder of cut indexes that all runs share."""


@dataclass
class SmallArchive:
    """The servers behind a mirror, cut down; an alternative to Memory."""

    wanted: frozenset[str]
    key: SigningKey
    memory: Memory = field(default_factory=Memory)
    kept: Path = SHARED
    """The folder of cut indexes."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _names: dict[str, frozenset[str]] = field(default_factory=dict)
    """Address of a release's main suite → the packages in the release's indexes."""
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
                try:
                    self._suites[where] = dict(self._files(where, match["suite"]))
                except LookupError:
                    return _MISSING
            return self._suites[where].get(match["file"], _MISSING)

    def _files(self, where: str, suite: str) -> Iterator[tuple[str, Answer]]:
        theirs = self._theirs(f"{where}/InRelease")
        index = self._index(where, f"{_MAIN}/dists/{suite.partition('-')[0]}", theirs)
        yield _INDEX, Answer(http.client.OK, index, {"Content-Type": "application/octet-stream"})
        release = self.key.clearsigned(_release(theirs.decode(), index))
        yield "InRelease", Answer(http.client.OK, release, {"Content-Type": "text/plain"})

    def _index(self, where: str, main: str, release: bytes) -> bytes:
        """Return a suite's cut index. `main` is the address of the suite whose relations choose the packages.

        A Release file has the checksums of its suite's indexes.
        """
        wanted = " ".join(sorted(self.wanted)).encode()
        file = self.kept / _digest(where.encode(), wanted)
        made_from = _digest(release, self._theirs(f"{main}/InRelease"), Path(__file__).read_bytes()).encode()
        if file.exists():
            said, _, index = file.read_bytes().partition(b"\n")
            if said == made_from:
                return index
        index = self._cut(where, main)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, made_from + b"\n" + index, durable=False)
        return index

    def _cut(self, where: str, main: str) -> bytes:
        stanzas = self._stanzas(where)
        if main not in self._names:
            self._names[main] = closure(self.wanted, stanzas if where == main else self._stanzas(main))
        return "".join(f"{stanza}\n\n" for stanza in stanzas if _name_of(stanza) in self._names[main]).encode()

    def _stanzas(self, where: str) -> list[str]:
        return lzma.decompress(self._theirs(f"{where}/{_INDEX}.xz")).decode().strip().split("\n\n")

    def _theirs(self, url: str) -> bytes:
        """Return the file at Debian's server. Raises LookupError if it is not there now."""
        answer = self.memory.get(url)
        if answer.status != http.client.OK:
            raise LookupError(url)
        return answer.body


def _release(theirs: str, index: bytes) -> bytes:
    """Return the Release file of a suite with that index alone."""
    digest = hashlib.sha256(index).hexdigest()
    lines = [
        *_KEPT.findall(theirs),
        f"Architectures: {_ARCHITECTURE}",
        "SHA256:",
        f" {digest} {len(index)} {_INDEX}",
    ]
    return ("\n".join(lines) + "\n").encode()


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _name_of(stanza: str) -> str:
    return stanza.partition("\n")[0].removeprefix("Package: ")


def closure(wanted: Iterable[str], stanzas: Iterable[str]) -> frozenset[str]:
    """Return the wanted packages and everything they may need, including all alternatives and providers."""
    # Only the reached packages' dependencies are read: those of all sixty thousand take seconds.
    named: dict[str, list[str]] = {}
    providers: dict[str, set[str]] = {}
    for stanza in stanzas:
        name = _name_of(stanza)
        named.setdefault(name, []).append(stanza)
        if "\nProvides: " in stanza:
            for virtual in names_in(", ".join(_PROVIDES.findall(stanza))):
                providers.setdefault(virtual, set()).add(name)
    found: set[str] = set()
    left = set(wanted)
    while left:
        name = left.pop()
        if name in found:
            continue
        found.add(name)
        depends = names_in(", ".join(line for stanza in named.get(name, ()) for line in _DEPENDS.findall(stanza)))
        left |= depends or (providers.get(name, set()) if name not in named else set())
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
