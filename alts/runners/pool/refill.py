"""Keeps a pool filled: makes machines in batches, takes back old ones, removes used ones. Nobody waits for it."""

from __future__ import annotations

import logging
import shutil
import threading
import uuid
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from alts.core.stop import Stop, Stopped, StopReason
from alts.runners.base import BatchRunner, MachineRequest
from alts.runners.pool.stock import Ready, Stock
from alts.runners.pool.targets import targets
from alts.shared.errors import InfrastructureError
from alts.shared.models.platform import Platform
from alts.shared.periodic import Loop

log = logging.getLogger(__name__)

_BATCH_SECONDS = 300.0  # for a batch; one takes about two
_LOOK_INTERVAL = 5.0  # seconds between two looks at the stock without a request
_REMOVALS_AT_ONCE = 2
_CLOSE_SECONDS = 30.0
_LONGEST_PAUSE = 60.0  # seconds between two tries while no machine can be made


@dataclass(frozen=True)
class PoolSettings:
    """The part of the configuration that a pool depends on."""

    size: int
    """Machines that wait, of all platforms together."""
    max_age: float
    """Seconds after which a machine that nobody took is replaced."""


class Refill:
    """Fills a stock. Its thread begins with the first request."""

    def __init__(
        self,
        runner: BatchRunner,
        stock: Stock,
        settings: PoolSettings,
        *,
        folder: Path,
        room: Callable[[], int],
    ) -> None:
        """`folder`: for batches. `room`: returns how many more machines this host's memory allows."""
        self._runner = runner
        self._stock = stock
        self._settings = settings
        self._folder = folder
        self._room = room
        self._wake = threading.Event()
        self._begun = threading.Lock()
        self._stop = Stop(float("inf"))
        self._removals = ThreadPoolExecutor(_REMOVALS_AT_ONCE, thread_name_prefix="remove")
        self._pending: set[Future[None]] = set()
        self._loop = Loop("pool", self._step, wake=self._wake, longest_pause=_LONGEST_PAUSE)

    def wake(self) -> None:
        """Look at the stock now, because a machine was taken or asked for."""
        if self._begun.acquire(blocking=False):
            self._loop.start()
        self._wake.set()

    def remove(self, ready: Ready) -> None:
        """Remove a machine in the background. If that fails, the reaper finds it."""
        removal = self._removals.submit(self._remove, ready)
        self._pending.add(removal)
        removal.add_done_callback(self._pending.discard)

    def close(self) -> None:
        """Make no more machines and remove those that are left."""
        self._stop.request(StopReason.DRAINING)
        for ready in self._stock.close():
            self.remove(ready)
        self._loop.close(seconds=_CLOSE_SECONDS)
        wait_for(list(self._pending), timeout=_CLOSE_SECONDS)
        self._removals.shutdown(wait=False)

    def _remove(self, ready: Ready) -> None:
        try:
            ready.made.instance.close()
            self._runner.remove(*ready.key)
        except InfrastructureError as error:
            log.warning("a machine of the pool was not removed", extra={"error": str(error)})
        finally:
            self._stock.gone(ready.key)

    def _step(self) -> float:
        demand = self._stock.demand
        for ready in self._stock.withdraw(unless=partial(self._is_wanted, demand)):
            self.remove(ready)
        waiting = self._stock.waiting
        size = min(self._settings.size, sum(waiting.values()) + max(0, self._room()))
        for platform, target in targets(demand, size=size).items():
            missing = target - waiting.get(platform, 0)
            # A batch costs little more than a single machine, so a pool that is half full can wait.
            if missing * 2 >= target:
                self._make(platform, missing)
                return 0.0
        return min(_LOOK_INTERVAL, self._settings.max_age / 2)

    def _is_wanted(self, demand: Collection[Platform], ready: Ready) -> bool:
        if ready.request.platform not in demand or self._stock.clock() - ready.made_at > self._settings.max_age:
            return False
        return not self._runner.is_outdated(ready.request, ready.made)

    def _make(self, platform: Platform, count: int) -> None:
        """Make a batch. Raises InfrastructureError, after which the loop pauses."""
        folder = self._folder / uuid.uuid4().hex
        folder.mkdir(parents=True)
        requests = [MachineRequest(platform, str(uuid.uuid4()), 0, folder) for _ in range(count)]
        made = False
        try:
            made = self._stock.expect(requests) and self._fill(requests, folder)
        finally:
            if not made:
                for request in requests:
                    self._stock.gone((request.task_id, request.attempt))
            shutil.rmtree(folder, ignore_errors=True)

    def _fill(self, requests: list[MachineRequest], folder: Path) -> bool:
        """Make the machines and offer them. Returns False if there are none, because the pool closes."""
        stop = self._stop.within(_BATCH_SECONDS)
        try:
            made = self._runner.make_ready(requests, folder=folder, stop=stop, log=_to_log)
        except Stopped as stopped:
            if self._stop.reason is not None:
                return False
            raise InfrastructureError("machines of the pool were not made in time") from stopped
        now = self._stock.clock()
        batch = [Ready(request, one, now) for request, one in zip(requests, made, strict=True)]
        if not self._stock.put(batch):
            for ready in batch:
                self.remove(ready)
        log.info("pool filled", extra={"platform": str(requests[0].platform), "machines": len(batch)})
        return True


def _to_log(text: str) -> None:
    log.debug(text.rstrip())
