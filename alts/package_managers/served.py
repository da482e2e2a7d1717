"""What a repository has really served, where a package manager could not use it: its words alone do not tell.

apt calls a login page in place of a Release file "not signed", and a page in place of an index a wrong checksum. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from alts.shared.models.report import Finding, Kind

_HEAD = 512  # bytes
_LONGEST = 10_000_000  # bytes; apt's own limit of a Release file (apt.conf(5), Acquire::MaxReleaseFileSize)

# No file that a refresh writes is as long as that, and an endless one would fill the disk. In units of 512 bytes where
# sh is dash, of 1024 where it is bash: 1 or 2 GiB.
BOUNDED = 'ulimit -f 2097152; exec "$@"'
"""Shell: runs "$@" with that limit."""

SHOW = f"""\
show() {{
    [ -f "$2" ] || return 0
    echo "alts-served $1 $(wc -c < "$2") $(od -An -v -tx1 -N{_HEAD} "$2" | tr -d ' \\n')"
}}
"""
"""Shell: `show NAME FILE` prints a line for read()."""

_LINE = re.compile(r"^alts-served (?P<name>\S+) (?P<size>\d+) (?P<head>(?:[0-9a-f]{2})*)$", re.MULTILINE)
# The first is how a clearsigned file begins, the others are fields that Release files have (Debian wiki,
# DebianRepository/Format).
_RELEASE = re.compile(
    rb"^(?:-----BEGIN PGP SIGNED MESSAGE-----|(?:Origin|Label|Suite|Codename|Version|Date|Architectures|Components|"
    rb"Description|MD5Sum|SHA1|SHA256|SHA512|Acquire-By-Hash|Valid-Until):)",
    re.MULTILINE,
)
_PAGE = re.compile(rb"<(?:!doctype\s+)?html\b", re.IGNORECASE)


@dataclass(frozen=True)
class Served:
    """A file as it came: its name (or URL), size in bytes, and how it begins."""

    name: str
    size: int
    head: bytes

    @property
    def is_page(self) -> bool:
        return _PAGE.search(self.head) is not None

    @property
    def is_release(self) -> bool:
        """Whether that is a Release file, by whomever it is signed."""
        return self.size <= _LONGEST and _RELEASE.search(self.head) is not None

    @property
    def fault(self) -> str:
        """What it is in place of metadata."""
        if self.size > _LONGEST:
            return "does not come to an end"
        if self.is_page:
            return "is an HTML page"
        return "is something else" if self.size else "is empty"

    @property
    def evidence(self) -> str:
        """One line, such as "88 bytes: <!DOCTYPE html><html>..."."""
        text = "".join(one if one.isprintable() else " " for one in self.head[:80].decode(errors="replace"))
        return f"{self.size} bytes: {text}".strip()


def read(output: str) -> tuple[Served, ...]:
    """Of an output of SHOW."""
    return tuple(
        Served(match["name"], int(match["size"]), bytes.fromhex(match["head"])) for match in _LINE.finditer(output)
    )


def no_metadata(repository: str, file: str, served: Served) -> Finding:
    """Nobody who makes a repository makes that: something between it and the machine does."""
    return Finding(
        kind=Kind.REPOSITORY_UNREACHABLE,
        message=f"the repository {repository} does not serve package metadata: its {file} {served.fault}",
        evidence=served.evidence,
    )


def in_place_of(
    findings: Iterable[Finding], pages: Sequence[Finding], excused: Iterable[Finding]
) -> tuple[Finding, ...]:
    """The findings with those that are `excused` left out, and the pages first."""
    left_out = set(excused)
    return tuple(dict.fromkeys((*pages, *(finding for finding in findings if finding not in left_out))))
