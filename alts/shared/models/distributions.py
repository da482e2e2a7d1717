"""The table of distributions that can be tested.

Pure data that imports nothing of ours: the request model, routing and the workers all read it.
To add a distribution or a version, add a row here; CONTRIBUTING.md has the recipe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

ARCHITECTURES: Mapping[str, str] = {
    "x86_64": "x86_64",
    "amd64": "x86_64",
    "i686": "i686",
    "aarch64": "aarch64",
    "arm64": "aarch64",
}
"""What a caller may ask for → the one name of that userland, as in Release.architectures."""

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
    """What the package format is, and with it the rules for names and versions."""

    DEB = "deb"
    RPM = "rpm"


class Tool(StrEnum):
    """The package manager that a release comes with; a key of alts.package_managers.registry.PACKAGE_MANAGERS."""

    APT = "apt"
    YUM = "yum"
    """Version 3, with its own depsolver and its own words."""
    DNF = "dnf"
    DNF5 = "dnf5"


@dataclass(frozen=True)
class Release:
    """One version of a distribution."""

    version: str
    codename: str
    """What the distribution's own archive calls it; RPM ones count only."""
    image: str
    """Where a registry has it, such as "debian:12"; empty for one that is only made here."""
    tool: Tool
    architectures: frozenset[str]
    """Userlands (values of ARCHITECTURES) that can be tested on it."""


@dataclass(frozen=True)
class Distribution:
    """A distribution and those of its versions that can be tested."""

    name: str
    family: Family
    releases: Mapping[str, Release]


def _releases(*releases: Release) -> Mapping[str, Release]:
    return {release.version: release for release in releases}


_PC = frozenset({"x86_64"})
_BOTH = frozenset({"x86_64", "aarch64"})
_ALL = frozenset({"x86_64", "i686", "aarch64"})

_TABLE = (
    Distribution(
        name="debian",
        family=Family.DEB,
        releases=_releases(
            Release("11", "bullseye", "debian:11", Tool.APT, _ALL),
            Release("12", "bookworm", "debian:12", Tool.APT, _ALL),
            # An i386 archive, but no longer a release of its own (Debian 13's release notes, 5.1.2): userland only.
            Release("13", "trixie", "debian:13", Tool.APT, _ALL),
        ),
    ),
    Distribution(
        name="ubuntu",
        family=Family.DEB,
        releases=_releases(
            Release("20.04", "focal", "ubuntu:20.04", Tool.APT, _BOTH),
            Release("22.04", "jammy", "ubuntu:22.04", Tool.APT, _BOTH),
            Release("24.04", "noble", "ubuntu:24.04", Tool.APT, _BOTH),
        ),
    ),
    Distribution(
        name="almalinux",
        family=Family.RPM,
        releases=_releases(
            Release("8", "8", "almalinux:8", Tool.DNF, _BOTH),
            Release("9", "9", "almalinux:9", Tool.DNF, _BOTH),
            Release("10", "10", "almalinux:10", Tool.DNF, _BOTH),
        ),
    ),
    Distribution(
        name="centos",
        family=Family.RPM,
        releases=_releases(
            # Both live on in the vault alone, see alts.package_managers.dnf.sources.
            Release("7", "7", "quay.io/centos/centos:centos7", Tool.YUM, _PC),
            Release("8", "8-stream", "quay.io/centos/centos:stream8", Tool.DNF, _BOTH),
            Release("9", "9-stream", "quay.io/centos/centos:stream9", Tool.DNF, _BOTH),
            Release("10", "10-stream", "quay.io/centos/centos:stream10", Tool.DNF, _BOTH),
        ),
    ),
    Distribution(
        name="fedora",
        family=Family.RPM,
        releases=_releases(
            Release("43", "43", "fedora:43", Tool.DNF5, _BOTH),
            Release("44", "44", "fedora:44", Tool.DNF5, _BOTH),
        ),
    ),
    # No distribution at all, but an RPM-native system made of Debian 12's packages (resources/images/rpm-standin):
    # what is found on it was found on it, and nowhere else.
    Distribution(
        name="rpm-standin",
        family=Family.RPM,
        releases=_releases(Release("9", "9", "", Tool.DNF, _PC)),
    ),
)

DISTRIBUTIONS: Mapping[str, Distribution] = {distribution.name: distribution for distribution in _TABLE}
