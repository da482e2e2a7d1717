"""Which of two RPM versions is newer (rpm-version(7))."""

from __future__ import annotations

import re
from functools import cmp_to_key

# Segments of digits or letters, and the two signs that sort before and after everything; the rest only separates.
_SEGMENT = re.compile(r"[0-9]+|[A-Za-z]+|~|\^")
_END = ""


def compare(one: str, other: str) -> int:
    """Below zero where [epoch:]version[-release] `one` is older, zero where both are the same."""
    for first, second in zip(_parts(one), _parts(other), strict=True):
        if order := _compare_part(first, second):
            return order
    return 0


version_key = cmp_to_key(compare)
"""For sorted() and max()."""


def full_version(epoch: str, version: str, release: str) -> str:
    """As dnf takes and shows it: "1:2.0-1", without an epoch that is 0 or missing, which rpm calls "(none)"."""
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
    """A tilde is older than the end of the version, a caret newer than that, but older than anything that goes on."""
    if segment == _END:
        return 1
    if segment.isdigit():
        return 4
    return {"~": 0, "^": 2}.get(segment, 3)


def _within(one: str, other: str) -> int:
    """Of two segments of the same sort: numbers by their value, words by the alphabet."""
    if one.isdigit():
        return int(one) - int(other)
    return (one > other) - (one < other)
