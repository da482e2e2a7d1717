"""Disk usage of a container, measured cheaply enough to poll.

If the container's own layer is readable on this host, du(1) measures it in blocks, so sparse files count as what they
use. Otherwise the engine measures it and adds up file lengths.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from alts.core.stop import Stop
from alts.host.process import run_process

_LOOK_INTERVAL = 2.0  # minimum seconds between two measurements
_COST = 20  # pause after a measurement, as a multiple of its duration
_LONGEST_PAUSE = 30.0  # seconds; a package with a million small files gains no more time than this
_LONGEST_LOOK = 120.0  # seconds for one measurement
_BLOCK = 4096  # bytes charged per inode at least: empty files use inodes, and a host has few
_MEBIBYTE = 1024 * 1024
_HOST_ROOM = 1024 * _MEBIBYTE  # bytes; with less free, the host counts as full
_PART = 20  # a machine below 1/20 of its limit is not blamed for a full host
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}


class DiskApi(Protocol):
    """The part of the SDK's APIClient that locates a container's files. Its errors are not translated."""

    def inspect_container(self, container: str) -> Mapping[str, Any]: ...

    def containers(self, *, all: bool, filters: Any, size: bool) -> Sequence[Mapping[str, Any]]: ...  # noqa: A002


def _free(folder: str) -> int:
    """Return the free bytes for unprivileged users on the folder's file system."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


class DiskWatch:
    """Detects that a container exceeds its disk limit or fills its host. Rate-limits the measurements."""

    def __init__(
        self,
        client: DiskApi,
        container: str,
        *,
        limit_mb: int,
        free: Callable[[str], int] = _free,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._container = container
        self.limit_mb = limit_mb
        self._free = free
        self._clock = clock
        self._next_look = clock() + _LOOK_INTERVAL
        self._folders: Sequence[str] | None = None
        self._process = 0
        self.used = 0
        """Bytes at the last measurement."""
        self.fills_host = False
        """Whether the host was full before the container reached its limit, i.e. the limit is too high for the host."""

    @property
    def exceeded(self) -> bool:
        return self.used > self.limit_mb * _MEBIBYTE

    def look(self, stop: Stop) -> bool:
        """Return whether the container uses too much. Measures if due. Once True, stays True."""
        if self.exceeded or self.fills_host or self._clock() < self._next_look:
            return self.exceeded or self.fills_host
        started = self._clock()
        self.used = self._measure(stop.within(_LONGEST_LOOK)) or self.used
        large = self.used * _PART > self.limit_mb * _MEBIBYTE
        self.fills_host = large and any(self._free(one) < _HOST_ROOM for one in self._folders or ())
        ended = self._clock()
        self._next_look = ended + min(max(_LOOK_INTERVAL, (ended - started) * _COST), _LONGEST_PAUSE)
        return self.exceeded or self.fills_host

    def _measure(self, stop: Stop) -> int:
        """Measure the used bytes. A du(1) that ran out of time counts as 0."""
        if self._folders is None:
            inspected = self._client.inspect_container(self._container)
            self._process = int(inspected["State"]["Pid"])
            self._folders = _readable_folders(inspected)
        if not self._folders:
            return self._size_by_engine()
        return _disk_usage(self._folders, stop) + sum(_deleted_files(self._process))

    def _size_by_engine(self) -> int:
        found = self._client.containers(all=True, filters={"id": self._container}, size=True)
        return sum(int(one.get("SizeRw") or 0) for one in found)


def _readable_folders(inspected: Mapping[str, Any]) -> Sequence[str]:
    """Return the container's layer and volumes; empty if any is not readable from here."""
    layer = (inspected.get("GraphDriver", {}).get("Data") or {}).get("UpperDir")
    volumes = [mount["Source"] for mount in inspected.get("Mounts", ()) if mount.get("Type") == "volume"]
    folders = [layer, *volumes] if layer else []
    return folders if all(os.access(folder, os.R_OK | os.X_OK) for folder in folders) else []


def _disk_usage(folders: Sequence[str], stop: Stop) -> int:
    """Return the bytes in the folders, at least one block per inode. A du(1) that ran out of time counts as 0."""
    sizes, names = (
        _last_number(run_process(["du", "-sxc", how, "--", *folders], stop=stop, env=_ENVIRONMENT).output)
        for how in ("--block-size=1", "--inodes")
    )
    return max(sizes, names * _BLOCK)


def _last_number(output: str) -> int:
    """Return the number in du's "total" line; 0 if du was stopped before it."""
    for line in reversed(output.splitlines()):
        number, _, name = line.partition("\t")
        if name == "total" and number.isdecimal():
            return int(number)
    return 0


def _deleted_files(process: int) -> Iterator[int]:
    """Yield the bytes of each deleted file that the container's processes hold open. du(1) misses these.

    Yields nothing if the container's processes are not visible from here.
    """
    seen: set[tuple[int, int]] = set()
    with suppress(OSError):
        own = Path(f"/proc/{process}/ns/pid").stat().st_ino
        root = Path(f"/proc/{process}/root").stat().st_dev
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal():
                continue
            # The process may end meanwhile.
            with suppress(OSError):
                if (entry / "ns/pid").stat().st_ino != own:
                    continue
                for descriptor in (entry / "fd").iterdir():
                    found = descriptor.stat()
                    key = (found.st_dev, found.st_ino)
                    # Deleted files in memory are counted as memory.
                    if found.st_nlink == 0 and stat.S_ISREG(found.st_mode) and found.st_dev == root and key not in seen:
                        seen.add(key)
                        yield found.st_blocks * 512
