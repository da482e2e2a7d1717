"""A runner whose machines are made ahead of their tasks, and removed after them, in the background."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from alts.core.output import OutputSink
from alts.core.stop import Stop
from alts.runners.base import AttemptKey, BatchRunner, Machine, MachineRequest, Order, Provisioned
from alts.runners.pool.refill import Refill
from alts.runners.pool.stock import Ready, Stock
from alts.shared.models.task_spec import TaskSpec

log = logging.getLogger(__name__)


class PooledRunner:
    """See alts.runners.base.Runner. A machine serves one task and is never used again."""

    def __init__(self, runner: BatchRunner, stock: Stock, refill: Refill) -> None:
        """The runner closes `runner` and `refill`."""
        self._runner = runner
        self._stock = stock
        self._refill = refill

    def check(self, spec: TaskSpec, *, stop: Stop) -> None:
        self._runner.check(spec, stop=stop)

    @contextmanager
    def make(self, request: MachineRequest, *, stop: Stop, log: OutputSink) -> Iterator[Provisioned]:
        """Take a machine that waits, or make one at once if none does."""
        ready = self._taken(request)
        self._refill.wake()
        if ready is None:
            with self._runner.make(request, stop=stop, log=log) as made:
                yield made
            return
        log(f"{ready.request.name} was made {self._stock.clock() - ready.made_at:.0f} s ago\n")
        try:
            yield ready.made
        finally:
            self._refill.remove(ready)

    def _taken(self, request: MachineRequest) -> Ready | None:
        while (ready := self._stock.take(request.platform)) is not None:
            if ready.made.instance.alive():
                return ready
            log.warning("a machine of the pool is gone", extra={"machine": ready.request.name})
            self._refill.remove(ready)
        return None

    def prepare(self, made: Provisioned, order: Order, *, stop: Stop, log: OutputSink) -> Provisioned:
        return self._runner.prepare(made, order, stop=stop, log=log)

    def remove_leftovers(self, task_id: str, *, below: int) -> int:
        return self._runner.remove_leftovers(task_id, below=below)

    def remove_all_of(self, worker: str) -> int:
        return self._runner.remove_all_of(worker)

    def machines(self) -> Iterable[Machine]:
        return self._runner.machines()

    def remove(self, task_id: str, attempt: int) -> int:
        return self._runner.remove(task_id, attempt)

    def held(self) -> Collection[AttemptKey]:
        return self._stock.keys | frozenset(self._runner.held())

    def trouble(self) -> str:
        return self._runner.trouble()

    def folders(self) -> Iterable[Path]:
        return self._runner.folders()

    def close(self) -> None:
        self._refill.close()
        self._runner.close()
