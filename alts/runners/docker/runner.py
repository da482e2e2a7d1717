"""Docker runner: machines as containers of a Docker engine."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from alts.core.output import OutputSink
from alts.core.stop import Stop
from alts.runners.base import AttemptKey, Machine, MachineRequest, Order, Provisioned
from alts.runners.docker.engine import Engine
from alts.runners.docker.errors import EngineFailed
from alts.runners.docker.inventory import Inventory
from alts.runners.docker.provider.process import ProviderProcess
from alts.runners.terraform import TerraformMachines
from alts.shared.models.task_spec import TaskSpec


class DockerRunner:
    """See alts.runners.base.BatchRunner."""

    def __init__(
        self, lifecycle: TerraformMachines, inventory: Inventory, engine: Engine, provider: ProviderProcess | None
    ) -> None:
        """The runner closes `engine` and `provider`."""
        self._lifecycle = lifecycle
        self._inventory = inventory
        self._engine = engine
        self._provider = provider

    def check(self, spec: TaskSpec, *, stop: Stop) -> None:
        self._lifecycle.check(spec, stop=stop)

    def make(self, request: MachineRequest, *, stop: Stop, log: OutputSink) -> AbstractContextManager[Provisioned]:
        return self._lifecycle.make(request, stop=stop, log=log)

    def make_ready(
        self, requests: Sequence[MachineRequest], *, folder: Path, stop: Stop, log: OutputSink
    ) -> Sequence[Provisioned]:
        return self._lifecycle.make_ready(requests, folder=folder, stop=stop, log=log)

    def is_outdated(self, request: MachineRequest, made: Provisioned) -> bool:
        return self._lifecycle.is_outdated(request, made)

    def prepare(self, made: Provisioned, order: Order, *, stop: Stop, log: OutputSink) -> Provisioned:
        return self._lifecycle.prepare(made, order, stop=stop, log=log)

    def remove_leftovers(self, task_id: str, *, below: int) -> int:
        return self._inventory.remove_before(task_id, below)

    def remove_all_of(self, worker: str) -> int:
        return self._inventory.remove_all_of(worker)

    def machines(self) -> Iterable[Machine]:
        return self._inventory.machines()

    def remove(self, task_id: str, attempt: int) -> int:
        return self._inventory.remove_attempt(task_id, attempt)

    def held(self) -> Collection[AttemptKey]:
        return ()

    def trouble(self) -> str:
        return self._engine.trouble()

    def folders(self) -> Iterable[Path]:
        """Return the engine's data folder; nothing if the engine is remote or does not answer."""
        try:
            root = self._engine.data_root()
        except EngineFailed:
            return ()
        return (root,) if root is not None and root.is_dir() else ()

    def close(self) -> None:
        self._lifecycle.close()
        if self._provider is not None:
            self._provider.close()
        self._engine.close()
