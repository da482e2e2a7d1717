"""Decide whether a full disk made a command fail."""

from __future__ import annotations

import re
from collections.abc import Sequence

from alts.core.command import Completed
from alts.package_managers.base import PackageManager
from alts.pipeline.context import StageContext
from alts.shared.models.report import Finding, Kind

# Findings of other kinds have a cause that an empty disk would not have removed.
_UNEXPLAINED = (Kind.INSTALL_FAILED, Kind.REMOVAL_FAILED)
# Folders that packages and their scripts write to. Each may be a separate file system.
_FOLDERS = ("/", "/etc", "/usr", "/var", "/var/cache", "/var/lib")
# A line of `df -Pk` or `df -Pi`: file system, total, used, available, per cent, mount point.
_DF_LINE = re.compile(r"^\S.*? +(?P<all>\d+) +\d+ +(?P<available>-?\d+) +\d+% (?P<mount>/.*)$", re.MULTILINE)
_ROOM = 1024  # KiB; a package manager can do nothing with less


def full_disk(context: StageContext, failed: Completed, findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return a finding if a full disk made a command fail, else none.

    The package manager removes partly unpacked files, so the disk may have room again by now; only the output of the
    command tells then. `findings`: the package manager's own. If they name a cause, for example a maintainer script,
    a line about the disk may be that script's, about a small file system that it has filled or about none at all. In
    that case only df(1) is believed. Raises Stopped or InstanceLost.
    """
    unexplained = all(finding.kind in _UNEXPLAINED for finding in findings)
    line = context.packages.disk_full_line(failed.output) if unexplained else ""
    return (_full(line),) if line else disk_full(context)


def disk_full(context: StageContext) -> tuple[Finding, ...]:
    """Return a finding if a file system that packages write to has no room or no inodes left now, else none.

    A script that fails on a full disk often does not say so. Raises Stopped or InstanceLost.
    """
    folders = _folders(context.packages)
    space = context.run(("df", "-Pk", *folders), question=True).output
    for match in _DF_LINE.finditer(space):
        # A pseudo file system has no size, and no package writes to it.
        if int(match["all"]) and int(match["available"]) < _ROOM:
            return (_full(f"{match['mount']} has no free space"),)
    entries = context.run(("df", "-Pi", *folders), question=True).output
    for match in _DF_LINE.finditer(entries):
        # A file system that makes inodes on demand has a total of 0.
        if int(match["all"]) and int(match["available"]) <= 0:
            return (_full(f"{match['mount']} has no free inodes"),)
    return ()


def _folders(packages: PackageManager) -> tuple[str, ...]:
    """Return the folders to look at. df complains of a missing one and reports the others."""
    return (*_FOLDERS, *packages.folders)


def _full(evidence: str) -> Finding:
    return Finding(kind=Kind.DISK_FULL, message="the machine's disk is full", evidence=evidence)
