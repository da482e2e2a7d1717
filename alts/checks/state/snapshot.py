"""What is on a machine at one moment: files, users, groups, processes, listening sockets, packages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class FileState(NamedTuple):
    """One entry of the file system, as lstat(2) tells it."""

    type: str
    """As find(1) says: f, d, l, p, s, b or c."""
    mode: int
    uid: int
    gid: int
    size: int
    """Bytes; 0 for a folder, whose size is the file system's own business."""
    mtime: int
    """Seconds since 1970; 0 for a folder, which changes whenever an entry comes or goes."""
    target: str = ""
    """Of a symbolic link."""


class Process(NamedTuple):
    """A process that runs."""

    pid: int
    parent: int
    command: str
    """Its arguments, joined by blanks; its name where it has none."""


@dataclass(frozen=True)
class Snapshot:
    """Two of an idle machine are equal. Paths, names and addresses are text; odd bytes are written as \\x7f."""

    files: Mapping[str, FileState] = field(default_factory=dict)
    """Path → state, without what no snapshot looks at (resources/leftovers, `unseen`)."""
    users: Mapping[str, str] = field(default_factory=dict)
    """Name → the rest of its line in passwd(5), without the password."""
    groups: Mapping[str, str] = field(default_factory=dict)
    """Name → the rest of its line in group(5), without the password."""
    processes: tuple[Process, ...] = ()
    """By process id, without those that took the snapshot."""
    listening: frozenset[str] = frozenset()
    """Such as "tcp 0.0.0.0:80", "udp6 [::]:53", "unix /run/docker.sock"."""
    packages: Mapping[str, str] = field(default_factory=dict)
    """Name → version."""
