"""Finds machines without a living worker in an engine's list of machines. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from alts.runners.base import AttemptKey, Machine


def own_orphans(machines: Iterable[Machine], *, own: str, wanted: Collection[AttemptKey]) -> set[AttemptKey]:
    """Return this worker's attempts that have a machine which is not wanted: their cleanup failed.

    `own`: this worker's identity. `wanted`: attempts that run, and machines that a runner holds for later ones. It must
    be read after `machines`, or a new attempt looks like an orphan.
    """
    return {attempt for machine in machines if machine.worker == own and (attempt := _attempt(machine)) not in wanted}


def foreign(machines: Iterable[Machine], *, neighbours: Collection[str]) -> set[AttemptKey]:
    """Return the attempts of workers outside this host, which may live. Only the ledger knows which are over.

    `neighbours`: identities of all workers of this host, own included. The locks of their slots say whether they live.
    """
    return {_attempt(machine) for machine in machines if machine.worker not in neighbours and machine.attempt}


def abandoned(machines: Iterable[Machine], *, neighbours: Collection[str], age: float) -> set[AttemptKey]:
    """Return machines that workers outside this host made ahead of a task, and that are older than `age` seconds.

    A worker that lives replaces such a machine long before. The ledger does not know them.
    """
    return {
        _attempt(machine)
        for machine in machines
        if machine.worker not in neighbours and not machine.attempt and machine.age > age
    }


def _attempt(machine: Machine) -> AttemptKey:
    return machine.task_id, machine.attempt
