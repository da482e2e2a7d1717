"""The machines of a pool: those that wait for a task, and those that have one."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from alts.runners.base import AttemptKey, MachineRequest, Provisioned
from alts.shared.models.platform import Platform


@dataclass(frozen=True)
class Ready:
    """A machine that waits for a task."""

    request: MachineRequest
    made: Provisioned
    made_at: float
    """By the stock's clock."""

    @property
    def key(self) -> AttemptKey:
        """The machine's own id and 0, also while a task uses it."""
        return self.request.task_id, self.request.attempt


class Stock:
    """Each machine is here from the moment before it is made until it is gone. Any thread may use it."""

    def __init__(self, *, memory: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`memory`: seconds for which a request for a platform is remembered."""
        self.clock = clock
        self._memory = memory
        self._lock = threading.Lock()
        self._ready: deque[Ready] = deque()
        self._keys: set[AttemptKey] = set()
        self._asked: deque[tuple[float, Platform]] = deque()
        self._closed = False

    def expect(self, requests: Iterable[MachineRequest]) -> bool:
        """Announce machines that are about to be made. Returns False if the stock is closed: make none."""
        with self._lock:
            if not self._closed:
                self._keys |= {(request.task_id, request.attempt) for request in requests}
            return not self._closed

    def put(self, made: Iterable[Ready]) -> bool:
        """Offer announced machines. Returns False if the stock is closed: the caller removes them."""
        with self._lock:
            if not self._closed:
                self._ready.extend(made)
            return not self._closed

    def take(self, platform: Platform) -> Ready | None:
        """Return the oldest machine of the platform, which is the caller's alone from now on; None if there is none.

        The request counts as demand either way.
        """
        wanted = _same(platform)
        with self._lock:
            self._asked.append((self.clock(), wanted))
            found = next((one for one in self._ready if _same(one.request.platform) == wanted), None)
            if found is not None:
                self._ready.remove(found)
            return found

    def withdraw(self, *, unless: Callable[[Ready], bool]) -> list[Ready]:
        """Take back the machines that are wanted no more."""
        with self._lock:
            unwanted = [one for one in self._ready if not unless(one)]
            for one in unwanted:
                self._ready.remove(one)
            return unwanted

    def gone(self, key: AttemptKey) -> None:
        """Forget a machine that was removed, or whose removal is left to the reaper."""
        with self._lock:
            self._keys.discard(key)

    def close(self) -> list[Ready]:
        """Accept no more machines, and return those that wait."""
        with self._lock:
            self._closed = True
            left = list(self._ready)
            self._ready.clear()
            return left

    @property
    def keys(self) -> frozenset[AttemptKey]:
        """All machines: those that are being made, wait, have a task, or are being removed."""
        with self._lock:
            return frozenset(self._keys)

    @property
    def waiting(self) -> Mapping[Platform, int]:
        """The number of machines that wait for a task."""
        with self._lock:
            return Counter(_same(one.request.platform) for one in self._ready)

    @property
    def demand(self) -> Mapping[Platform, int]:
        """The number of remembered requests, the most recently requested platform first."""
        with self._lock:
            since = self.clock() - self._memory
            while self._asked and self._asked[0][0] < since:
                self._asked.popleft()
            return Counter(platform for _, platform in reversed(self._asked))


def _same(platform: Platform) -> Platform:
    """Return the platform with its architecture's one name: "amd64" and "x86_64" are the same."""
    return Platform(platform.dist_name, platform.dist_version, platform.architecture)
