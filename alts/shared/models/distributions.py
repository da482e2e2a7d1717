"""The distributions and versions that can be tested: pure data for the request model, routing and the workers.

This module imports nothing of the project. CONTRIBUTING.md has the recipe for another distribution or version.
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
"""Architecture in a request → canonical name of the userland, as in Release.architectures."""

HOST_ARCHITECTURES: Mapping[str, str] = {
    "x86_64": "x86_64",
    "amd64": "x86_64",
    "i686": "x86_64",
    "aarch64": "aarch64",
    "arm64": "aarch64",
}
"""Architecture in a request → architecture of the host that runs it."""

DEB_ARCHITECTURES: Mapping[str, str] = {
    "x86_64": "amd64",
    "amd64": "amd64",
    "i686": "i386",
    "aarch64": "arm64",
    "arm64": "arm64",
}
"""Architecture in a request → dpkg's name. Docker's image configuration uses the same names, except for i386."""


class Family(StrEnum):
    """A package format with its rules for names and versions."""

    DEB = "deb"
    RPM = "rpm"


class Tool(StrEnum):
    """A release's package manager, a key of alts.package_managers.registry.PACKAGE_MANAGERS."""

    APT = "apt"
    YUM = "yum"
    """Version 3, with a depsolver and messages of its own."""
    DNF = "dnf"
    DNF5 = "dnf5"


@dataclass(frozen=True)
class Release:
    """One version of a distribution."""

    version: str
    codename: str
    """Name in the distribution's archive, e.g. "bookworm" or "9-stream"."""
    image: str
    """Reference in a registry, e.g. "debian:12"; empty for an image that is only built here."""
    tool: Tool
    architectures: frozenset[str]
    """Userlands (values of ARCHITECTURES) that can be tested on it."""


@dataclass(frozen=True)
class Distribution:
    """A distribution and its testable versions."""

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
            # Debian 13 has an i386 archive, but only for userland (its release notes, 5.1.2).
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
            # 7 and 8 only exist in the vault, see alts.package_managers.dnf.sources.
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
    # Not a distribution, but an RPM-native system made of Debian 12's packages (resources/images/rpm-standin). Results
    # on it say nothing about any distribution.
    Distribution(
        name="rpm-standin",
        family=Family.RPM,
        releases=_releases(Release("9", "9", "", Tool.DNF, _PC)),
    ),
)

DISTRIBUTIONS: Mapping[str, Distribution] = {distribution.name: distribution for distribution in _TABLE}
