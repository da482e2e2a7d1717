"""One run: start the world, break it, mend it, wait for it, collect the evidence."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.chaos.callers import Callers
from tests.chaos.evidence import collect, objects_of, on_their_way
from tests.chaos.faults import DRAIN_PATIENCE, Struck, strike
from tests.chaos.invariants import Broken, Violation, store_is_complete, violations
from tests.chaos.ledger_file import tasks_of, unfinished, waiting_invitations
from tests.chaos.plan import REAL_STRETCH, WORKERS, Fault, Plan
from tests.chaos.world import Servers, World

START_SECONDS = 90.0
CONVERGE_SECONDS = 90.0
"""Time limit for a mended service to end every task, in seconds, for a busy host."""
LOOK_INTERVAL = 0.3


@dataclass(frozen=True)
class Result:
    """The result of a run."""

    plan: Plan
    tasks: int
    attempts: int
    outcomes: Counter[str]
    faults: Counter[str]
    converged_in: float | None
    """Seconds from the last mend until every task had ended; None if that did not happen."""
    seconds: float
    violations: tuple[Violation, ...]


def run(plan: Plan, folder: Path, servers: Servers) -> Result:
    """Carry out the plan in `folder`, which exists and is empty."""
    begun = time.monotonic()
    with World(plan, folder, servers) as world:
        _wait_until_ready(world)
        started = time.monotonic()
        callers = Callers(world, started=started)
        callers.start()
        struck = _strike_all(world, started)
        trouble = [one.trouble for one in struck if one.trouble] + _mend(world)
        mended = time.monotonic()
        callers.join()
        patience = CONVERGE_SECONDS * (REAL_STRETCH if plan.real else 1)
        converged = _wait(lambda: _converged(world), patience)
        converged_in = time.monotonic() - mended if converged else None
        trouble += _end(world)
        evidence = collect(world, callers.asked, trouble=trouble)
    return Result(
        plan=plan,
        tasks=len(evidence.tasks),
        attempts=sum(task.attempt for task in evidence.tasks),
        outcomes=Counter(task.outcome or task.state for task in evidence.tasks),
        faults=Counter(one.fault.name for one in struck),
        converged_in=converged_in,
        seconds=time.monotonic() - begun,
        violations=tuple(violations(evidence)),
    )


def broken_off(plan: Plan, why: str) -> Result:
    """Return the result of a run that broke off."""
    violation = Violation(Broken.UNTRIED, why)
    return Result(plan, 0, 0, Counter(), Counter(), converged_in=None, seconds=0.0, violations=(violation,))


def _wait_until_ready(world: World) -> None:
    """Wait for the service's first start, before anything is broken. Raises RuntimeError if it does not start."""
    if not _wait(lambda: _ready(world), START_SECONDS):
        raise RuntimeError(f"the service did not start; its logs are in {world.folder}")


def _ready(world: World) -> bool:
    return _answers(world) and all(_is_ready(world, name) for name in WORKERS)


def _is_ready(world: World, name: str) -> bool:
    return world.services[name].has_said("ready.")


def _answers(world: World) -> bool:
    with world.client(seconds=2) as client:
        try:
            return client.get("/health").is_success
        except httpx.HTTPError:
            return False


def _strike_all(world: World, started: float) -> list[Struck]:
    """Strike with every fault of the plan at its time, each in a separate thread."""

    def strike_at(fault: Fault) -> Struck:
        time.sleep(max(0.0, started + fault.at - time.monotonic()))
        return strike(world, fault)

    with ThreadPoolExecutor(len(world.plan.faults)) as pool:
        return list(pool.map(strike_at, world.plan.faults))


def _mend(world: World) -> list[str]:
    """Mend everything that the faults left broken. A process that has ended by itself is trouble."""
    world.network.heal()
    trouble = []
    for service in world.services.values():
        service.thaw()
        if not service.running:
            trouble.append(f"{service.name} ended by itself with {service.exit_code}")
            service.start()
    return trouble


def _converged(world: World) -> bool:
    """Every task has ended, its artifacts are stored, no message waits, and every worker is ready for more."""
    return (
        not unfinished(world.ledger)
        and not waiting_invitations(world.ledger)
        and not on_their_way(world)
        and store_is_complete(tasks_of(world.ledger), objects_of(world))
        and world.queue.messages() == 0
        and _ready(world)
    )


def _end(world: World) -> list[str]:
    """End the service like a supervisor."""
    trouble = []
    for name in WORKERS:
        world.services[name].terminate()
    for name in WORKERS:
        code = world.services[name].wait(DRAIN_PATIENCE)
        if code != 0:
            trouble.append(f"{name} ended with {code} at the end")
    scheduler = world.services["scheduler"]
    scheduler.terminate()
    # uvicorn raises the signal again after its clean-up.
    if (code := scheduler.wait(DRAIN_PATIENCE)) not in (0, -15):
        trouble.append(f"the scheduler ended with {code} at the end")
    return trouble


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not (holds := condition()) and time.monotonic() < until:
        time.sleep(LOOK_INTERVAL)
    return holds
