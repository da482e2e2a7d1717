"""Whether a failure comes down to a machine without memory or processes to spare, as the kernel counts them, or to one
that kills what we run."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from alts.command import Completed
from alts.runners.base import MachineRuined
from alts.shared.report import Kind

Ask = Callable[[Sequence[str]], Completed]
"""Runs a program on the machine."""

_KILLED = 137  # 128 + SIGKILL, as a shell and Docker put it

# What dpkg, rpm and shells print of a process that was killed.
_SIGKILL = re.compile(r"\(Killed\)|\bKilled\b|signal 9|exit status 137|exited unexpectedly")
# What fork(2) says, and shells make of it.
_NO_FORK = re.compile(r"Resource temporarily unavailable|[Cc]annot fork|unable to fork|fork failed|can't fork")

# How often the kernel has killed something of this machine for want of memory, how often it has refused a process
# (cgroups(7); version 2 has both in one folder, version 1 each in its own); a machine has one of both. tail(1) says
# which file is which, and needs no second process.
_COUNTS_ARGV = (
    "tail",
    "-n",
    "+1",
    "/sys/fs/cgroup/memory.events",
    "/sys/fs/cgroup/memory/memory.oom_control",
    "/sys/fs/cgroup/pids.events",
    "/sys/fs/cgroup/pids/pids.events",
)
_OOM_KILLS = ("memory.events oom_kill", "memory/memory.oom_control oom_kill")
_TITLE = re.compile(r"^==> /sys/fs/cgroup/(?P<path>\S+) <==$")
_COUNT = re.compile(r"^(?:(?P<name>[a-z_]+) )?(?P<count>\d+)$")


def what_ruined(failed: Completed, ask: Ask) -> MachineRuined | None:
    """What the failure of a command comes down to; None where something else was wrong."""
    lines = [line.strip() for line in failed.output.splitlines()]
    killed = [line for line in lines if _SIGKILL.search(line)]
    unforked = [line for line in lines if _NO_FORK.search(line)]
    if not killed and not unforked and failed.exit_code != _KILLED:
        return None
    counts = _counts(ask)
    # Whoever prints the words without cause is not excused: the kernel's count must bear them out.
    if unforked and any(counts.get(name) for name in ("pids.events max", "pids/pids.events max")):
        return MachineRuined(
            Kind.PROCESS_LIMIT_EXCEEDED,
            "the machine has as many processes as it may, so that no more could be started",
            evidence=unforked[-1],
        )
    if (killed or failed.exit_code == _KILLED) and _memory_ran_out(counts):
        return MachineRuined(
            Kind.OUT_OF_MEMORY,
            "the machine's memory ran out, so the kernel killed a process",
            evidence=killed[-1] if killed else f"exit code {failed.exit_code}",
        )
    if failed.exit_code == _KILLED and any(counts.get(name) == 0 for name in _OOM_KILLS):
        return MachineRuined(
            Kind.PROCESS_LEFT_RUNNING,
            f"something in the machine kills what runs there: {failed.argv[0]} was killed",
            evidence=f"exit code {failed.exit_code}",
        )
    return None


def _counts(ask: Ask) -> Mapping[str, int]:
    """Such as {"memory.events oom_kill": 1}."""
    counts: dict[str, int] = {}
    path = ""
    for line in ask(_COUNTS_ARGV).output.splitlines():
        if match := _TITLE.match(line):
            path = match["path"]
        elif path and (match := _COUNT.match(line)):
            counts[f"{path} {match['name'] or ''}".strip()] = int(match["count"])
    return counts


def _memory_ran_out(counts: Mapping[str, int]) -> bool:
    """Whether the kernel has killed for want of the machine's own memory; version 2 also counts how often that was met,
    and so tells it from the host's.

    Where it does not say, the signs must do.
    """
    kills = [counts[name] for name in _OOM_KILLS if name in counts]
    return (not kills or any(kills)) and counts.get("memory.events oom", 1) > 0
