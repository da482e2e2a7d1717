"""Which tests one process of pytest-xdist runs, one after the other, and which of them begin first.

What shares something costly, or must not happen at the same time, is one group: a private RabbitMQ, the host's
settings. Every other file is a group of its own, for the fixtures that it has for all of its tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from xdist.scheduler import LoadScopeScheduling

SERVERS = "servers"
HOST = "host"

GROUPS: Mapping[str, str] = {
    # One RabbitMQ and one S3 server for all of them.
    "test_artifacts.py": SERVERS,
    "test_broker_away.py": SERVERS,
    "test_broker_queues.py": SERVERS,
    "test_clock_jumps.py": SERVERS,
    "test_drain.py": SERVERS,
    "test_frozen_worker.py": SERVERS,
    "test_full_stack.py": SERVERS,
    "test_s3_away.py": SERVERS,
    "test_s3_results.py": SERVERS,
    "test_secrets.py": SERVERS,
    # It has servers of its own, and needs the time that the others with servers would take from it.
    "test_chaos.py": SERVERS,
    # Each gives this host the address of a metadata service.
    "test_docker_seal.py": HOST,
    "test_hostile.py": HOST,
}
"""File → the group that it is in with others."""

FIRST = (
    *(HOST, SERVERS, "test_compose.py", "test_faults.py", "test_corpus_deb.py", "test_corpus_rpm.py"),
    *("test_runner_docker.py", "test_determinism.py", "test_hostile_api.py", "test_first_commands.py"),
)
"""Groups that take longest: the others fill up what is left of the time beside them."""


def group_of(nodeid: str) -> str:
    """Of the test with that id, such as "tests/unit/shared/reports/test_tap.py::test_a_report[x]"."""
    file = PurePosixPath(nodeid.partition("::")[0]).name
    return GROUPS.get(file, file)


def rank(nodeid: str) -> int:
    """The lower, the sooner it begins."""
    group = group_of(nodeid)
    return FIRST.index(group) if group in FIRST else len(FIRST)


class GroupScheduling(LoadScopeScheduling):  # type: ignore[misc]  # pytest-xdist has no types
    """Gives a process one group after the other.

    pytest-xdist's own --dist loadgroup marks tests by changing their ids, which pytest 9.2 does not let it.
    """

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)
