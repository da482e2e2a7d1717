"""Full names of packages, as dnf and rpm write them. Pure."""

from __future__ import annotations

import re

_FULL_NAME = re.compile(r"(?P<name>.+)-(?:\d+:)?[^-:]+-[^-]+\Z")


def bare_name(text: str) -> str:
    """Return the name in "name-[epoch:]version-release[.architecture]". A text of another form comes back unchanged."""
    match = _FULL_NAME.match(text)
    return match["name"] if match else text


def full_name(name: str, version: str) -> str:
    """Return the argument that every dnf and yum takes for exactly this version: "name-0:2.0-1", with the epoch."""
    return f"{name}-{version}" if ":" in version else f"{name}-0:{version}"
