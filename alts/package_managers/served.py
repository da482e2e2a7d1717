"""Metadata files as a repository served them, to tell a bad repository from a bad network. Pure.

The package manager's own words do not tell: apt calls a login page in place of a Release file "not signed", and a page
in place of an index a wrong checksum.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from alts.shared.models.report import Finding, Kind

_HEAD = 512  # bytes
_LONGEST = 10_000_000  # bytes; apt's own limit of a Release file (apt.conf(5), Acquire::MaxReleaseFileSize)

# No file of a refresh is so long, and an endless one would fill the disk. The unit is 512 bytes if sh is dash and 1024
# if it is bash: 1 or 2 GiB.
BOUNDED = 'ulimit -f 2097152; exec "$@"'
"""Shell script: run "$@" with a limit on the size of each file that it writes."""

SHOW = f"""\
show() {{
    [ -f "$2" ] || return 0
    echo "alts-served $1 $(wc -c < "$2") $(od -An -v -tx1 -N{_HEAD} "$2" | tr -d ' \\n')"
}}
"""
"""Shell function: `show NAME FILE` prints a line for read()."""

_LINE = re.compile(r"^alts-served (?P<name>\S+) (?P<size>\d+) (?P<head>(?:[0-9a-f]{2})*)$", re.MULTILINE)
# The first line of a clearsigned file, or a field of a Release file (Debian wiki, DebianRepository/Format).
_RELEASE = re.compile(
    rb"^(?:-----BEGIN PGP SIGNED MESSAGE-----|(?:Origin|Label|Suite|Codename|Version|Date|Architectures|Components|"
    rb"Description|MD5Sum|SHA1|SHA256|SHA512|Acquire-By-Hash|Valid-Until):)",
    re.MULTILINE,
)
_PAGE = re.compile(rb"<(?:!doctype\s+)?html\b", re.IGNORECASE)


@dataclass(frozen=True)
class Served:
    """A file as the repository served it."""

    name: str
    """File name or URL."""
    size: int
    """Bytes."""
    head: bytes
    """The first 512 bytes at most."""

    @property
    def is_page(self) -> bool:
        """Whether the beginning has an HTML tag."""
        return _PAGE.search(self.head) is not None

    @property
    def is_release(self) -> bool:
        """Whether this is a Release file, signed or not."""
        return self.size <= _LONGEST and _RELEASE.search(self.head) is not None

    @property
    def fault(self) -> str:
        """The predicate of a message about a file that is no metadata, e.g. "is an HTML page"."""
        if self.size > _LONGEST:
            return "is larger than 10 MB"
        if self.is_page:
            return "is an HTML page"
        return "has unknown content" if self.size else "is empty"

    @property
    def evidence(self) -> str:
        """Size and beginning in one line, e.g. "88 bytes: <!DOCTYPE html><html>..."."""
        text = "".join(one if one.isprintable() else " " for one in self.head[:80].decode(errors="replace"))
        return f"{self.size} bytes: {text}".strip()


def read(output: str) -> tuple[Served, ...]:
    """Read the lines of SHOW; any other line is passed over."""
    return tuple(
        Served(match["name"], int(match["size"]), bytes.fromhex(match["head"])) for match in _LINE.finditer(output)
    )


def no_metadata(repository: str, file: str, served: Served) -> Finding:
    """Report a file that no repository contains: something between repository and machine made it."""
    return Finding(
        kind=Kind.REPOSITORY_UNREACHABLE,
        message=f"the repository {repository} does not serve package metadata: its {file} {served.fault}",
        evidence=served.evidence,
    )


def in_place_of(
    findings: Iterable[Finding], pages: Sequence[Finding], excused: Iterable[Finding]
) -> tuple[Finding, ...]:
    """Put the `pages` first, leave the `excused` findings out, and keep each finding once."""
    left_out = set(excused)
    return tuple(dict.fromkeys((*pages, *(finding for finding in findings if finding not in left_out))))
