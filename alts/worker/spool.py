"""Artifacts on their way to the store: written to the worker's disk first, then uploaded by threads.

Artifacts that the disk does not take are held in memory until store or disk takes them.

No verdict waits for a store that is away. Artifacts on disk survive the worker's process: the slot's next holder, or
another worker of this host, uploads them (alts.worker.janitor).
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from pathlib import Path

from alts.shared.atomic_file import remove_drafts, write_atomically
from alts.shared.backoff import backoff
from alts.shared.errors import StorageUnavailable
from alts.shared.periodic import Loop
from alts.shared.storage.base import ArtifactStore, group_of

log = logging.getLogger(__name__)

_THREADS = 4
_ROOM_SECONDS = 5.0  # longest wait of put() for room in memory
_FIRST_PAUSE = 0.5  # seconds after the first failed upload, doubled after each further one
_LONGEST_PAUSE = 15.0
_NEARLY_FULL = 0.8  # fraction of the limit at which no task begins: running ones still find room
_HELD_LIMIT = 64 << 20  # bytes in memory, for tasks that run while disk and store take nothing
_SUFFIX = ".artifact"


@dataclass
class _Waiting:
    path: Path
    size: int
    held: bytes | None = None
    """The file's content, if the disk has not taken it."""
    context: Context = field(default_factory=copy_context)
    """Context for log lines about it: the attempt of the thread that put it."""


class Spool:
    """Takes artifacts at any time, and uploads those of one group in the order of put(). Any thread may call it.

    A file is named `<group>.<number>.artifact` and holds a line of JSON with key and content type, then the content.
    If the process dies between upload and removal, the same content is uploaded again under the same key.
    """

    def __init__(
        self,
        folder: Path,
        store: ArtifactStore,
        *,
        limit: int,
        held_limit: int = _HELD_LIMIT,
        first_pause: float = _FIRST_PAUSE,
        longest_pause: float = _LONGEST_PAUSE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`limit`: most bytes that wait, on disk and in memory; `held_limit`: most bytes in memory.

        Raises OSError if the folder cannot be made.
        """
        self._folder = folder
        self._store = store
        self._limit = limit
        self._held_limit = held_limit
        self._first_pause = first_pause
        self._longest_pause = longest_pause
        self._clock = clock
        self._changed = threading.Condition()
        self._waiting: dict[str, deque[_Waiting]] = {}
        self._ready: deque[str] = deque()
        """Groups with waiting artifacts that no thread uploads now."""
        self._size = 0
        self._last_number = 0
        self._failures = 0
        self._pause_until = 0.0
        self._closing = False
        folder.mkdir(parents=True, exist_ok=True)
        remove_drafts(folder)
        self._take_in(folder)
        self._loops = [Loop(f"spool-{n}", self._step, longest_pause=longest_pause) for n in range(_THREADS)]
        for loop in self._loops:
            loop.start()

    def put(
        self, key: str, content: bytes, *, content_type: str = "text/plain; charset=utf-8", group: str = ""
    ) -> None:
        """Take an artifact. `group` defaults to the task and attempt in the key, which keeps an attempt's order.

        Raises StorageUnavailable if neither disk nor memory has room for it.
        """
        group = group or group_of(key)
        entry = json.dumps({"key": key, "content_type": content_type}).encode() + b"\n" + content
        waiting = self._numbered(group, len(entry))
        if not _written(waiting.path, entry):
            waiting.held = entry
        with self._changed:
            if waiting.held is not None and not self._room_to_hold(waiting.size):
                self._size -= waiting.size
                raise StorageUnavailable(
                    f"neither disk nor artifact store accepts data, and {self._held} bytes are held in memory"
                )
            self._add(group, waiting)

    def location(self, key: str) -> str:
        """Return the artifact's address, valid once it is stored."""
        return self._store.location(key)

    def settle(self, group: str, *, seconds: float) -> bool:
        """Wait up to `seconds` until the group is stored, not at all while the store is away. Returns whether it is."""
        end = self._clock() + seconds
        with self._changed:
            while group in self._waiting and not self._failures and (left := end - self._clock()) > 0:
                self._changed.wait(left)
            return group not in self._waiting

    def adopt(self, folder: Path) -> int:
        """Move all artifacts from a dead worker's spool. Returns their number. The caller holds the slot's lock."""
        if not folder.is_dir():
            return 0
        count = 0
        for path in sorted(folder.glob(f"*{_SUFFIX}")):
            path.replace(self._folder / path.name)
            self._take_in(self._folder, name=path.name)
            count += 1
        return count

    @property
    def trouble(self) -> str:
        """Why no task should begin: its logs would find no room. Empty if they would."""
        with self._changed:
            if self._size >= self._limit * _NEARLY_FULL:
                return f"the artifact store does not answer, and {self._size >> 20} MB wait for it"
            if self._failures and self._held:
                return "the artifact store does not answer, and the spool's disk cannot be written"
            return ""

    def close(self, *, seconds: float = 5.0) -> None:
        """Upload the rest for up to `seconds`, unless the store is away. What remains stays on disk."""
        end = self._clock() + seconds
        with self._changed:
            while self._waiting and not self._failures and (left := end - self._clock()) > 0:
                self._changed.wait(left)
            left_over = sum(map(len, self._waiting.values()))
            self._closing = True
            self._changed.notify_all()
        if left_over:
            log.warning("artifacts wait for the next worker", extra={"count": left_over, "folder": str(self._folder)})
        for loop in self._loops:
            loop.close(seconds=max(0.0, end - self._clock()))
        for group in list(self._waiting):
            self._write_held(group)

    @property
    def _held(self) -> int:
        """Bytes in memory."""
        return sum(waiting.size for line in self._waiting.values() for waiting in line if waiting.held is not None)

    def _room_to_hold(self, size: int) -> bool:
        """Wait for room in memory while the store works. Returns whether there is room."""
        end = self._clock() + _ROOM_SECONDS
        while self._held + size > self._held_limit and not self._failures and (left := end - self._clock()) > 0:
            self._changed.wait(left)
        return self._held + size <= self._held_limit

    def _numbered(self, group: str, size: int) -> _Waiting:
        """Reserve the group's next file name and `size` bytes. Raises StorageUnavailable if `limit` is reached."""
        with self._changed:
            if self._size + size > self._limit:
                raise StorageUnavailable(
                    f"the spool is full: {self._size} bytes wait for the artifact store, which does not answer"
                )
            self._size += size
            self._last_number = max(self._last_number + 1, time.time_ns())
            return _Waiting(self._folder / f"{group}.{self._last_number:020}{_SUFFIX}", size)

    def _take_in(self, folder: Path, *, name: str = f"*{_SUFFIX}") -> None:
        """Queue files that are on disk already."""
        with self._changed:
            for path in sorted(folder.glob(name)):
                waiting = _Waiting(path, path.stat().st_size)
                self._size += waiting.size
                self._add(path.name.rsplit(".", 2)[0], waiting)

    def _add(self, group: str, waiting: _Waiting) -> None:
        line = self._waiting.get(group)
        if line is None:
            self._waiting[group] = deque([waiting])
            self._ready.append(group)
        else:
            line.append(waiting)
        self._changed.notify_all()

    def _step(self) -> float:
        group = self._next()
        if group is None:
            return self._longest_pause
        try:
            self._carry(group)
        except BaseException as error:
            # The group is tried again after any error.
            with self._changed:
                self._postpone(group, error)
            raise
        return 0.0

    def _next(self) -> str | None:
        """Wait for a group to upload and for the end of the pause. Returns None at the end."""
        with self._changed:
            while not self._closing:
                pause = self._pause_until - self._clock()
                if self._ready and pause <= 0:
                    return self._ready.popleft()
                self._changed.wait(max(pause, 0.01) if self._ready else None)
        return None

    def _carry(self, group: str) -> None:
        """Upload the group's artifacts one after another, until none is left or the store is away."""
        while not self._closing:
            with self._changed:
                waiting = self._waiting[group][0]
            try:
                waiting.context.run(self._bring, waiting)
            except StorageUnavailable as error:
                self._write_held(group)
                with self._changed:
                    self._postpone(group, error)
                return
            waiting.path.unlink(missing_ok=True)
            with self._changed:
                self._size -= waiting.size
                if self._failures:
                    log.info("the artifact store is back", extra={"failures": self._failures})
                self._failures = 0
                line = self._waiting[group]
                line.popleft()
                if not line:
                    del self._waiting[group]
                self._changed.notify_all()
                if not line:
                    return

    def _write_held(self, group: str) -> None:
        """Retry writing in-memory artifacts to disk. Only the thread that uploads the group may call this."""
        with self._changed:
            held = [waiting for waiting in self._waiting.get(group, ()) if waiting.held is not None]
        for waiting in held:
            if waiting.held is None or not _written(waiting.path, waiting.held):
                return
            waiting.held = None

    def _bring(self, waiting: _Waiting) -> None:
        try:
            entry = waiting.path.read_bytes() if waiting.held is None else waiting.held
            head, _, content = entry.partition(b"\n")
            said = json.loads(head)
            key, content_type = str(said["key"]), str(said["content_type"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            # Truncated by a power failure, or removed by another process: it must not block the others.
            log.warning("artifact not readable", extra={"artifact": waiting.path.name, "error": str(error)})
            return
        self._store.put(key, content, content_type=content_type)

    def _postpone(self, group: str, error: BaseException) -> None:
        if not self._failures:
            log.warning("the artifact store is away", extra={"error": str(error)})
        pause = backoff(self._first_pause, times=self._failures, at_most=self._longest_pause)
        self._failures += 1
        self._pause_until = self._clock() + pause
        self._ready.append(group)
        self._changed.notify_all()


def _written(path: Path, entry: bytes) -> bool:
    """Write the whole file or nothing. Returns whether the disk took it."""
    try:
        write_atomically(path, entry, durable=False)
    except OSError as error:
        log.warning("the spool's disk takes nothing", extra={"artifact": path.name, "error": str(error)})
        return False
    return True
