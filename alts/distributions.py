"""The table of distributions that can be tested.

Pure data that imports nothing of ours: the request model, routing and the workers all read it.
To add a distribution or a version, add a row here; README.md has the recipe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

HOST_ARCHITECTURES: Mapping[str, str] = {
    "x86_64": "x86_64",
    "amd64": "x86_64",
    "i686": "x86_64",
    "aarch64": "aarch64",
    "arm64": "aarch64",
}
"""What a caller may ask for → the architecture of the host that runs it."""

DEB_ARCHITECTURES: Mapping[str, str] = {
    "x86_64": "amd64",
    "amd64": "amd64",
    "i686": "i386",
    "aarch64": "arm64",
    "arm64": "arm64",
}
"""What a caller may ask for → dpkg's name, which is also the one Docker's image configuration uses, but for i386."""


class Family(StrEnum):
    """What the package format and its tools are."""

    DEB = "deb"


@dataclass(frozen=True)
class Release:
    """One version of a distribution."""

    version: str
    codename: str
    image: str
    """Where a registry has it, such as "debian:12"."""
    architectures: frozenset[str]
    """Host architectures (values of HOST_ARCHITECTURES) that can be tested on it."""


@dataclass(frozen=True)
class Distribution:
    """A distribution and those of its versions that can be tested."""

    name: str
    family: Family
    releases: Mapping[str, Release]
    archives: tuple[str, ...]
    """The distribution's own repositories: trouble with them is never a package's, or a task's."""


def _releases(*releases: Release) -> Mapping[str, Release]:
    return {release.version: release for release in releases}


_X86_64 = frozenset({"x86_64"})

DISTRIBUTIONS: Mapping[str, Distribution] = {
    distribution.name: distribution
    for distribution in (
        Distribution(
            name="debian",
            family=Family.DEB,
            archives=(
                "http://deb.debian.org/debian",
                "http://deb.debian.org/debian-security",
                "http://security.debian.org/debian-security",
            ),
            releases=_releases(
                Release("11", "bullseye", "debian:11", _X86_64),
                Release("12", "bookworm", "debian:12", _X86_64),
                Release("13", "trixie", "debian:13", _X86_64),
            ),
        ),
    )
}
