"""The groups of tests that one process of pytest-xdist runs in sequence, and the order of the groups.

Files that share something costly, or must not run at once, form one group: a private RabbitMQ, the host's settings.
Every other file is a group of its own, because of its module fixtures.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from xdist.scheduler import LoadScopeScheduling

SERVERS = "servers"
HOST = "host"

GROUPS: Mapping[str, str] = {
    # These share one RabbitMQ and one S3 server.
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
    # It starts its own servers, and would compete with the other files that use servers.
    "test_chaos.py": SERVERS,
    # Each gives this host the address of a metadata service.
    "test_docker_seal.py": HOST,
    "test_hostile.py": HOST,
}
"""File → its group."""

FIRST = (
    *(SERVERS, HOST, "test_faults.py", "test_corpus_rpm.py", "test_corpus_deb.py", "test_hostile_bodies.py"),
    *("test_compose.py", "test_images_debian.py", "test_docker_limits.py", "test_runner_docker.py"),
    *("test_first_commands.py", "test_determinism.py", "test_embedded.py", "test_cancel.py", "test_hostile_api.py"),
)
"""The slowest groups. The others fill the remaining time beside them.

test_images_debian.py makes an image for later ones.
"""


def group_of(nodeid: str) -> str:
    """Return the group of a test id, e.g. "tests/unit/shared/reports/test_tap.py::test_a_report[x]"."""
    file = PurePosixPath(nodeid.partition("::")[0]).name
    return GROUPS.get(file, file)


def rank(nodeid: str) -> int:
    """Return a sort key: lower ranks begin earlier."""
    group = group_of(nodeid)
    return FIRST.index(group) if group in FIRST else len(FIRST)


class GroupScheduling(LoadScopeScheduling):  # type: ignore[misc]  # pytest-xdist has no types
    """Gives a process one group after the other.

    pytest-xdist's own --dist loadgroup marks tests by changing their ids, which pytest 9.2 does not allow.
    """

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)
