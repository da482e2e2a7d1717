"""How much of the host's disk a container has filled, found out cheaply enough to ask again and again.

Where the engine is on this host, and we may, by du(1) on the container's own layer: it counts blocks, so that a sparse
file weighs what it takes. Elsewhere by the engine, which adds up lengths.
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

_LOOK_INTERVAL = 2.0  # seconds between two looks, at least
_COST = 20  # a look that took a second is followed by twenty without one
_LONGEST_PAUSE = 30.0  # seconds; who makes looks slow, by a million small files, is not to gain time by it
_LONGEST_LOOK = 120.0  # seconds
_BLOCK = 4096  # bytes: an empty file takes room, too, and a host has only so many
_MEBIBYTE = 1024 * 1024
_HOST_ROOM = 1024 * _MEBIBYTE  # with less, the host is full for everybody else
_PART = 20  # a machine that has less than this part of its limit has not filled the host
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}


class DiskApi(Protocol):
    """The part of the SDK's APIClient that tells where a container's files are; its errors come through."""

    def inspect_container(self, container: str) -> Mapping[str, Any]: ...

    def containers(self, *, all: bool, filters: Any, size: bool) -> Sequence[Mapping[str, Any]]: ...  # noqa: A002


def _free(folder: str) -> int:
    """Bytes that anybody may still write where the folder is."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


class DiskWatch:
    """Whether a container has filled more than it may, or than its host has; asked often, it looks seldom."""

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
        """Bytes, at the last look."""
        self.fills_host = False
        """Whether the host is full before the container's limit is reached: then the limit was too high for it."""

    @property
    def exceeded(self) -> bool:
        return self.used > self.limit_mb * _MEBIBYTE

    def look(self, stop: Stop) -> bool:
        """Whether there is too much by now. Once there was, there always is."""
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
        """Bytes; none where there was no time to see them all."""
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
    """The container's own layer and its volumes; none where they are not to be seen from here."""
    layer = (inspected.get("GraphDriver", {}).get("Data") or {}).get("UpperDir")
    volumes = [mount["Source"] for mount in inspected.get("Mounts", ()) if mount.get("Type") == "volume"]
    folders = [layer, *volumes] if layer else []
    return folders if all(os.access(folder, os.R_OK | os.X_OK) for folder in folders) else []


def _disk_usage(folders: Sequence[str], stop: Stop) -> int:
    """Bytes of all their files, each counted for a block at least; nothing where there was no time to see them all."""
    sizes, names = (
        _last_number(run_process(["du", "-sxc", how, "--", *folders], stop=stop, env=_ENVIRONMENT).output)
        for how in ("--block-size=1", "--inodes")
    )
    return max(sizes, names * _BLOCK)


def _last_number(output: str) -> int:
    """Of du's line "total"; nothing where it was stopped before it came to that."""
    for line in reversed(output.splitlines()):
        number, _, name = line.partition("\t")
        if name == "total" and number.isdecimal():
            return int(number)
    return 0


def _deleted_files(process: int) -> Iterator[int]:
    """Bytes of the files that the container's processes hold open and that have no name any more: du misses them.

    Nothing where the container's processes are not to be seen from here.
    """
    seen: set[tuple[int, int]] = set()
    with suppress(OSError):
        own = Path(f"/proc/{process}/ns/pid").stat().st_ino
        root = Path(f"/proc/{process}/root").stat().st_dev
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal():
                continue
            # It may end while we look.
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
