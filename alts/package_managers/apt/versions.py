"""Compare Debian versions (Debian Policy 5.6.12). python-debian does the comparing."""

from __future__ import annotations

import re

from debian.debian_support import NativeVersion

# "Native": Version itself is another class if python-apt is installed.
_OLDEST = NativeVersion("0~~~~")
_RELATION = re.compile(r"(?P<name>\S+) \((?P<relation><<|<=|=|>=|>>|<|>) (?P<version>\S+)\)")


def version_key(version: str) -> NativeVersion:
    """Return a key for sorted() and max(). A repository may serve a text that is no version: it is the oldest."""
    try:
        return NativeVersion(version)
    except ValueError:
        return _OLDEST


def compare(one: str, other: str) -> int:
    """Return a number below zero if `one` is older, zero if both are equal, above zero if it is newer."""
    first, second = version_key(one), version_key(other)
    return (first > second) - (first < second)


def satisfies(requirement: str, version: str) -> bool:
    """Tell whether a version meets a requirement, e.g. "libfoo2 (>= 1:3)". Any version meets one without a relation."""
    match = _RELATION.match(requirement)
    if not match:
        return True
    order = compare(version, match["version"])
    return {
        "<<": order < 0,
        "<": order < 0,
        "<=": order <= 0,
        "=": order == 0,
        ">=": order >= 0,
        ">": order > 0,
        ">>": order > 0,
    }[match["relation"]]
