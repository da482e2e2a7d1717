"""Find and remove this service's objects in the engine by label, even after a worker crash."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from alts.runners.base import Machine, MachineRequest
from alts.runners.docker.engine import Engine

TASK_LABEL = "alts.task"
ATTEMPT_LABEL = "alts.attempt"
WORKER_LABEL = "alts.worker"


class Inventory:
    """Containers and networks with this service's labels."""

    def __init__(self, engine: Engine, *, worker: str) -> None:
        """`worker`: value of the worker label on what this process makes."""
        self._engine = engine
        self._worker = worker

    def labels_of(self, request: MachineRequest) -> Mapping[str, str]:
        """Return the labels for all engine objects of a machine."""
        return {TASK_LABEL: request.task_id, ATTEMPT_LABEL: str(request.attempt), WORKER_LABEL: self._worker}

    def machines(self) -> Iterable[Machine]:
        """List the machines of all workers. A network without its machine also counts as one."""
        ours: Mapping[str, str | None] = {TASK_LABEL: None}
        found = [(container.labels, container.made_at) for container in self._engine.containers(ours)]
        found += [(network.labels, network.made_at) for network in self._engine.networks(ours)]
        now = self._engine.time() if found else 0.0
        for labels, made_at in found:
            # Labels without an attempt number are not ours.
            if labels.get(ATTEMPT_LABEL, "").isdecimal():
                yield Machine(labels.get(WORKER_LABEL, ""), labels[TASK_LABEL], _attempt_of(labels), now - made_at)

    def remove_attempt(self, task_id: str, attempt: int) -> int:
        """Remove what an attempt has. Returns the number of machines. Raises EngineFailed."""
        return self._remove({TASK_LABEL: task_id, ATTEMPT_LABEL: str(attempt)})

    def remove_before(self, task_id: str, attempt: int) -> int:
        """Remove what the task's earlier attempts have. Returns the number of machines. Raises EngineFailed."""
        return self._remove({TASK_LABEL: task_id}, below=attempt)

    def remove_all_of(self, worker: str) -> int:
        """Remove what a worker has. Returns the number of machines. Raises EngineFailed."""
        return self._remove({WORKER_LABEL: worker})

    def _remove(self, labels: Mapping[str, str], *, below: int | None = None) -> int:
        """Remove the machines with these labels, then their networks; only attempts before `below`, if given.

        Returns the number of machines.
        """
        machines, networks = self._engine.containers(labels), self._engine.networks(labels)
        doomed = [machine for machine in machines if below is None or _attempt_of(machine.labels) < below]
        for machine in doomed:
            self._engine.remove_container(machine.id)
        for network in networks:
            if below is None or _attempt_of(network.labels) < below:
                self._engine.remove_network(network.id)
        return len(doomed)


def _attempt_of(labels: Mapping[str, str]) -> int:
    """Return the attempt number; 0 for a foreign label, which belongs to no live attempt."""
    attempt = labels.get(ATTEMPT_LABEL, "")
    return int(attempt) if attempt.isdecimal() else 0
