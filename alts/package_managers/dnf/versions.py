"""Compare RPM versions (rpm-version(7)).

By hand, because rpm-vercmp has had no release since 2018 and univers brings the versions of all other ecosystems along.
"""

from __future__ import annotations

import re
from functools import cmp_to_key

# Segments of digits or letters, and the signs "~" and "^", which have an order of their own. Other characters separate.
_SEGMENT = re.compile(r"[0-9]+|[A-Za-z]+|~|\^")
_END = ""


def compare(one: str, other: str) -> int:
    """Return a number below zero if `one` ([epoch:]version[-release]) is older, zero if both are equal."""
    for first, second in zip(_parts(one), _parts(other), strict=True):
        if order := _compare_part(first, second):
            return order
    return 0


version_key = cmp_to_key(compare)
"""Key for sorted() and max()."""


def full_version(epoch: str, version: str, release: str) -> str:
    """Return the version as dnf writes it: "1:2.0-1". An epoch of 0 or none, which rpm writes "(none)", is left out."""
    return f"{version}-{release}" if epoch in ("0", "(none)", "") else f"{epoch}:{version}-{release}"


def _parts(text: str) -> tuple[str, str, str]:
    epoch, _, rest = text.rpartition(":")
    version, dash, release = rest.rpartition("-")
    return (epoch or "0", version, release) if dash else (epoch or "0", rest, "")


def _compare_part(one: str, other: str) -> int:
    first, second = _SEGMENT.findall(one), _SEGMENT.findall(other)
    for position in range(max(len(first), len(second))):
        left = first[position] if position < len(first) else _END
        right = second[position] if position < len(second) else _END
        if left != right and (order := _rank(left) - _rank(right) or _within(left, right)):
            return order
    return 0


def _rank(segment: str) -> int:
    """Order by kind: "~" is older than the end of the version, "^" newer than that and older than other segments."""
    if segment == _END:
        return 1
    if segment.isdigit():
        return 4
    return {"~": 0, "^": 2}.get(segment, 3)


def _within(one: str, other: str) -> int:
    """Compare two segments of the same kind: numbers by value, words by the alphabet."""
    if one.isdigit():
        return int(one) - int(other)
    return (one > other) - (one < other)
