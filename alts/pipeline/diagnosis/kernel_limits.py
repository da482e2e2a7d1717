"""Decide whether a command failed at the machine's limit of memory or processes, or because it was killed there.

The kernel's own counts decide; the output of the command only says when to look at them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from alts.core.command import Completed
from alts.core.instance import MachineRuined
from alts.shared.errors import InfrastructureError
from alts.shared.models.report import Kind

Ask = Callable[[Sequence[str]], Completed]
"""Run a program on the machine."""

_KILLED = 137  # 128 + SIGKILL, by the convention of shells and Docker
# dash ends with it if fork(2) fails. Its message is lost if the command has 2>/dev/null, which dash opens first.
_SHELL_ERROR = 2

# Output of dpkg, rpm and shells about a process that was killed.
_SIGKILL = re.compile(r"\(Killed\)|\bKilled\b|signal 9|exit status 137|exited unexpectedly")
# The error of fork(2), and the words of shells for it.
_NO_FORK = re.compile(
    r"Resource temporarily unavailable|[Cc]annot fork|unable to fork|fork failed|can't fork|Failed to fork"
)

# How often the kernel has killed a process of this machine for lack of memory, and how often it has refused a new one
# (cgroups(7)). Version 2 has both counts in one folder, version 1 in one folder each; a machine has either version. In
# version 1 any process can write to the folder above. tail(1) prints the name of each file and needs no second process.
_COUNTS_ARGV = (
    "tail",
    "-n",
    "+1",
    "/sys/fs/cgroup/memory.events",
    "/sys/fs/cgroup/memory/memory.oom_control",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    "/sys/fs/cgroup/memory/memory.max_usage_in_bytes",
    "/sys/fs/cgroup/pids.events",
    "/sys/fs/cgroup/pids/pids.events",
)
_OOM_KILLS = ("memory/memory.oom_control oom_kill", "memory.events oom_kill")
_NEAR = 16 * 1024 * 1024  # bytes below the limit that count as having met it: a refused allocation is not counted
_REFUSED = ("pids/pids.events max", "pids.events max")
_TITLE = re.compile(r"^==> /sys/fs/cgroup/(?P<path>\S+) <==$")
_COUNT = re.compile(r"^(?:(?P<name>[a-z_]+) )?(?P<count>\d+)$")


def what_ruined(failed: Completed, ask: Ask) -> MachineRuined | None:
    """Return the limit or the kill that made a command fail; None if the cause is another one.

    Raises InfrastructureError if the host ran out of memory, not the machine.
    """
    lines = [line.strip() for line in failed.output.splitlines()]
    killed = [line for line in lines if _SIGKILL.search(line)]
    unforked = [line for line in lines if _NO_FORK.search(line)]
    if not any(lines) and failed.exit_code == _SHELL_ERROR:
        unforked = [f"{failed.argv[0]} ended with exit code {failed.exit_code} and without a message"]
    if not killed and not unforked and failed.exit_code != _KILLED:
        return None
    counts = _counts(ask)
    # Any script can print these words, so the kernel's count must confirm them.
    if unforked and _first_known(counts, _REFUSED):
        return MachineRuined(
            Kind.PROCESS_LIMIT_EXCEEDED,
            "the machine reached its process limit and could start no more processes",
            evidence=unforked[-1],
        )
    if not killed and failed.exit_code != _KILLED:
        return None
    evidence = killed[-1] if killed else f"exit code {failed.exit_code}"
    kills = _first_known(counts, _OOM_KILLS)
    # Without a count from the kernel, the output decides.
    if kills is None or kills > 0:
        if not _limit_was_met(counts):
            raise InfrastructureError(
                "the host's memory ran out, so the kernel killed a process of the machine", details=evidence
            )
        return MachineRuined(
            Kind.OUT_OF_MEMORY, "the machine's memory ran out, so the kernel killed a process", evidence=evidence
        )
    if failed.exit_code == _KILLED:
        return MachineRuined(
            Kind.PROCESS_LEFT_RUNNING,
            f"{failed.argv[0]} was killed by another process in the machine",
            evidence=evidence,
        )
    return None


def _counts(ask: Ask) -> Mapping[str, int]:
    """Return the counts by file and name, for example {"memory.events oom_kill": 1}."""
    counts: dict[str, int] = {}
    path = ""
    for line in ask(_COUNTS_ARGV).output.splitlines():
        if match := _TITLE.match(line):
            path = match["path"]
        elif path and (match := _COUNT.match(line)):
            counts[f"{path} {match['name'] or ''}".strip()] = int(match["count"])
    return counts


def _first_known(counts: Mapping[str, int], names: Iterable[str]) -> int | None:
    return next((counts[name] for name in names if name in counts), None)


def _limit_was_met(counts: Mapping[str, int]) -> bool:
    """Return whether the machine met its own limit of memory. If it did not, the host ran out of memory.

    Version 2 of cgroups counts these events. Version 1 records the highest use; its memory.failcnt is 0 in Linux 6.18
    even after the kernel has killed a process for the limit.
    """
    most, limit = (counts.get(f"memory/memory.{name}") for name in ("max_usage_in_bytes", "limit_in_bytes"))
    if most is not None and limit is not None:
        return most + _NEAR >= limit
    return counts.get("memory.events oom", 1) > 0
