"""Which of two Debian versions is newer (Debian Policy 5.6.12)."""

from __future__ import annotations

import re
from functools import cmp_to_key

_PART = re.compile(r"(?P<text>[^0-9]*)(?P<number>[0-9]*)")
_RELATION = re.compile(r"(?P<name>\S+) \((?P<relation><<|<=|=|>=|>>|<|>) (?P<version>\S+)\)")


def compare(one: str, other: str) -> int:
    """Below zero where `one` is older, zero where both are the same, above zero where it is newer."""
    first, second = _split(one), _split(other)
    if first[0] != second[0]:
        return first[0] - second[0]
    return _compare_part(first[1], second[1]) or _compare_part(first[2], second[2])


version_key = cmp_to_key(compare)
"""For sorted() and max()."""


def satisfies(requirement: str, version: str) -> bool:
    """Whether a version is what a requirement such as "libfoo2 (>= 1:3)" wants; without a version, any is."""
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


def _split(version: str) -> tuple[int, str, str]:
    """Epoch, upstream version, revision."""
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, dash, revision = rest.rpartition("-")
    return int(epoch), upstream if dash else rest, revision if dash else ""


def _compare_part(one: str, other: str) -> int:
    while one or other:
        first, second = _PART.match(one), _PART.match(other)
        assert first is not None  # noqa: S101 - the pattern matches anything
        assert second is not None  # noqa: S101
        if order := _compare_text(first["text"], second["text"]):
            return order
        if order := int(first["number"] or 0) - int(second["number"] or 0):
            return order
        one, other = one[first.end() :], other[second.end() :]
    return 0


def _compare_text(one: str, other: str) -> int:
    """Letter by letter: "~" before the end, the end before letters, letters before everything else."""
    for position in range(max(len(one), len(other))):
        order = _rank(one[position : position + 1]) - _rank(other[position : position + 1])
        if order:
            return order
    return 0


def _rank(letter: str) -> int:
    if letter == "~":
        return -1
    if not letter:
        return 0
    return ord(letter) if letter.isalpha() else ord(letter) + 256
