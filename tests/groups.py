"""Which tests one process of pytest-xdist runs, one after the other, and which of them begin first.

What shares something costly, or must not happen at the same time, is one group: the fixtures of a file, a private
RabbitMQ, the host's settings. Everything else is a group for each file.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

FIRST = ("compose", "faults", "hostile", "services", "corpus-deb", "corpus-rpm")
"""Groups that take longest: the others fill up what is left of the time beside them."""

_SERVERS = {"rabbitmq": "services", "s3": "services", "postgresql": "postgresql"}
"""Fixture → the group that has its one server."""

_FILES = {
    "test_compose.py": "compose",
    "test_hostile.py": "hostile",
    # Like the hostile packages' neighbour, it gives this host the address of a metadata service.
    "test_docker_seal.py": "hostile",
}


def group_of(item: pytest.Item) -> str:
    if marker := item.get_closest_marker("xdist_group"):
        return str(marker.args[0])
    fixtures = set(getattr(item, "fixturenames", ()))
    for fixture, group in _SERVERS.items():
        if fixture in fixtures:
            return group
    if item.get_closest_marker("services"):
        return "postgresql" if "database_url" in fixtures else "services"
    return _FILES.get(item.path.name, item.path.name)


def rank(group: str) -> int:
    return FIRST.index(group) if group in FIRST else len(FIRST)


def in_groups(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """The items, each marked with its group, the longest groups first; within a group in their own order."""
    grouped = [(group_of(item), item) for item in items]
    for group, item in grouped:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(group))
    return [item for _, item in sorted(grouped, key=lambda one: rank(one[0]))]
