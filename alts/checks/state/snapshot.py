"""The state of a machine at one moment: files, users, groups, processes, listening sockets, packages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class FileState(NamedTuple):
    """One entry of the file system, by lstat(2)."""

    type: str
    """The letter of find(1): f, d, l, p, s, b or c."""
    mode: int
    uid: int
    gid: int
    size: int
    """Bytes; 0 for a folder, because its size depends on the file system."""
    mtime: int
    """Seconds since 1970; 0 for a folder, because its time changes with every entry that comes or goes."""
    target: str = ""
    """The target of a symbolic link, else empty."""


class Process(NamedTuple):
    """A running process."""

    pid: int
    parent: int
    command: str
    """Its arguments, joined by blanks; without arguments its name in brackets."""


@dataclass(frozen=True)
class Snapshot:
    """The state of a machine. Two snapshots of an idle machine are equal.

    Paths, names and addresses are text; a byte that is not UTF-8 is written as \\xff.
    """

    files: Mapping[str, FileState] = field(default_factory=dict)
    """Path → state. Paths that the rules call `unseen` (resources/leftovers) are left out."""
    users: Mapping[str, str] = field(default_factory=dict)
    """Name → the rest of its line in passwd(5), without the password."""
    groups: Mapping[str, str] = field(default_factory=dict)
    """Name → the rest of its line in group(5), without the password."""
    processes: tuple[Process, ...] = ()
    """Sorted by process id, without the processes that took the snapshot."""
    listening: frozenset[str] = frozenset()
    """Sockets, for example "tcp 0.0.0.0:80", "udp6 [::]:53", "unix /run/docker.sock"."""
    packages: Mapping[str, str] = field(default_factory=dict)
    """Name → version."""
    unpurged: frozenset[str] = frozenset()
    """Names of removed packages that have something to purge, for example conffiles."""
