"""Whether a full disk is why something failed on the machine: it takes all that needs room with it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from alts.core.command import Completed
from alts.package_managers.base import PackageManager
from alts.pipeline.context import StageContext
from alts.shared.models.report import Finding, Kind

# Whatever else the package manager says of a failure, it would have said on an empty disk too.
_UNEXPLAINED = (Kind.INSTALL_FAILED, Kind.REMOVAL_FAILED)
# Where packages and their scripts write; each may be a file system of its own.
_FOLDERS = ("/", "/etc", "/usr", "/var", "/var/cache", "/var/lib")
# A line of `df -Pk` or `df -Pi`: file system, all, used, available, per cent, where it is mounted.
_DF_LINE = re.compile(r"^\S.*? +(?P<all>\d+) +\d+ +(?P<available>-?\d+) +\d+% (?P<mount>/.*)$", re.MULTILINE)
_ROOM = 1024  # KiB; nothing of a package manager's work can be done in less


def full_disk(context: StageContext, failed: Completed, findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """What the failure of a command comes down to where the disk is full, or was: what is unpacked in part is removed.

    `findings`: what the package manager says of it. Where it knows a reason, such as a package's script, words about
    the disk may be a script's own, of a small file system that it has filled or of none at all: then only the machine
    itself is believed. Raises Stopped or InstanceLost.
    """
    unexplained = all(finding.kind in _UNEXPLAINED for finding in findings)
    line = context.packages.disk_full_line(failed.output) if unexplained else ""
    return (_full(line),) if line else disk_full(context)


def disk_full(context: StageContext) -> tuple[Finding, ...]:
    """Whether the disk is full at this moment: scripts that fail for that often do not say so.

    Raises Stopped or InstanceLost.
    """
    folders = _folders(context.packages)
    space = context.run(("df", "-Pk", *folders), question=True).output
    for match in _DF_LINE.finditer(space):
        # What has no size at all is not a file system to write to.
        if int(match["all"]) and int(match["available"]) < _ROOM:
            return (_full(f"{match['mount']} has no room left"),)
    entries = context.run(("df", "-Pi", *folders), question=True).output
    for match in _DF_LINE.finditer(entries):
        # Some file systems make entries as they need them, and say that they have none.
        if int(match["all"]) and int(match["available"]) <= 0:
            return (_full(f"{match['mount']} can have no more files"),)
    return ()


def _folders(packages: PackageManager) -> tuple[str, ...]:
    """What is looked at; those that are not there make df complain, and that is all."""
    return (*_FOLDERS, *packages.folders)


def _full(evidence: str) -> Finding:
    return Finding(kind=Kind.DISK_FULL, message="the machine's disk is full", evidence=evidence)
