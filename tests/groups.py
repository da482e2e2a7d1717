"""Which tests one process of pytest-xdist runs, one after the other, and which of them begin first.

The tests of a file are always together. Files that share something costly, or must not run at the same time, are one
group: a private RabbitMQ, the host's settings. xdist's own `--dist loadgroup` is not used: with pytest 9.2 it lets the
tests of a group go to several processes (xdist 3.8 changes an attribute that pytest does not read any more).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).parent.parent

FIRST = ("services", "hostile", "test_faults.py", "test_corpus_deb.py", "test_corpus_rpm.py", "test_compose.py")
"""Groups that take longest: the others fill up what is left of the time beside them."""

_FILES = {
    "test_hostile.py": "hostile",
    # Like the hostile packages' neighbour, it gives this host the address of a metadata service.
    "test_docker_seal.py": "hostile",
    # It has servers of its own, and needs the time that the others with servers would take from it.
    "test_chaos.py": "services",
}
_SERVERS = ("PrivateRabbitMQ", "PrivateS3")
"""What a file names that uses the one RabbitMQ, or the one S3 server, of its process."""


@functools.cache
def group_of(file: str) -> str:
    """The group of a file of tests, "tests/services/test_drain.py" for example: "services"."""
    path = ROOT / file
    if path.name in _FILES:
        return _FILES[path.name]
    if any(server in path.read_text(encoding="utf-8") for server in _SERVERS):
        return "services"
    return path.name


class GroupScheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist is untyped
    """Sends the tests of a group to one process."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid.split("::", 1)[0])


def longest_first(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """The items, the longest groups first; within a group in their own order."""
    return sorted(items, key=lambda item: _rank(group_of(item.nodeid.split("::", 1)[0])))


def _rank(group: str) -> int:
    return FIRST.index(group) if group in FIRST else len(FIRST)
