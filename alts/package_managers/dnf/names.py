"""How dnf and rpm write which package they mean. Pure."""

from __future__ import annotations

import re

_FULL_NAME = re.compile(r"(?P<name>.+)-(?:\d+:)?[^-:]+-[^-]+\Z")


def bare_name(text: str) -> str:
    """Of "name-[epoch:]version-release[.architecture]" the name; the text itself where it is not of that form."""
    match = _FULL_NAME.match(text)
    return match["name"] if match else text


def full_name(name: str, version: str) -> str:
    """What every dnf and yum takes for exactly that version: "name-1:2.0-1", with an epoch in any case."""
    return f"{name}-{version}" if ":" in version else f"{name}-0:{version}"
