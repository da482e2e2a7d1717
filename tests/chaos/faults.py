"""The faults: the way in which each strikes its target, and its mend."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import docker

from alts.runners.docker.inventory import TASK_LABEL
from tests.chaos.ledger_file import unfinished
from tests.chaos.network import Mode
from tests.chaos.plan import Fault, Kind
from tests.chaos.private_engine import PrivateEngine
from tests.chaos.world import World

DRAIN_PATIENCE = 45.0
"""Total time limit for a worker's end after SIGTERM, in seconds, for a busy host."""

HOUR = 3600.0
ADVANCE, SETBACK = 2 * HOUR, -3 * HOUR
"""The jumps of a clock, in seconds. The mend jumps back."""

VICTIM_SECONDS = 5.0
"""How long a fault waits for a victim, in seconds."""


@dataclass(frozen=True)
class Struck:
    """A fault as it really happened. Times are the monotonic clock's."""

    fault: Fault
    begun: float
    ended: float
    trouble: str = ""
    """The service's wrong reaction; empty if there is none."""


def strike(world: World, fault: Fault) -> Struck:
    """Break, wait, mend."""
    trouble: list[str] = []
    with world.turns[fault.target]:
        begun = time.monotonic()
        with _way(world, fault, trouble):
            time.sleep(fault.seconds)
    return Struck(fault, begun, time.monotonic(), "; ".join(trouble))


def _way(world: World, fault: Fault, trouble: list[str]) -> AbstractContextManager[None]:
    if ">" in fault.target:
        return _broken_link(world, fault.target, Mode(fault.kind))
    if fault.kind is Kind.DRAIN:
        return _drained(world, fault.target, trouble)
    return _away(*_MENDABLE[fault.name](world, fault.target))


Act = Callable[[], object]


def _nothing() -> None:
    """Mend a fault that needs no mend."""


_MENDABLE: Mapping[str, Callable[[World, str], tuple[Act, Act]]] = {
    "kill worker": lambda world, name: (world.services[name].kill, world.services[name].start),
    "kill scheduler": lambda world, name: (world.services[name].kill, world.services[name].start),
    "freeze worker": lambda world, name: (world.services[name].freeze, world.services[name].thaw),
    "freeze scheduler": lambda world, name: (world.services[name].freeze, world.services[name].thaw),
    "kill broker": lambda world, _: (world.servers.rabbitmq.kill, world.servers.rabbitmq.start),
    "restart broker": lambda world, _: (world.servers.rabbitmq.stop, world.servers.rabbitmq.start),
    "kill s3": lambda world, _: (world.servers.s3.kill, world.servers.s3.start),
    "fill disk": lambda world, _: (world.disk.fill, world.disk.clear),
    "purge queue": lambda world, _: (lambda: _try_for_a_while(world.queue.purge), _nothing),
    "duplicate queue": lambda world, _: (
        lambda: _try_for_a_while(lambda: world.queue.publish(unfinished(world.ledger))),
        _nothing,
    ),
    "advance clock of worker": lambda world, name: _set_clock(world, name, ADVANCE),
    "advance clock of scheduler": lambda world, name: _set_clock(world, name, ADVANCE),
    "set back clock of worker": lambda world, name: _set_clock(world, name, SETBACK),
    "set back clock of scheduler": lambda world, name: _set_clock(world, name, SETBACK),
    "restart docker": lambda world, _: (_engine(world).stop, _engine(world).start),
    "kill docker": lambda world, _: (_engine(world).kill, _engine(world).start),
    "kill machine": lambda world, _: (lambda: _kill_machine(_engine(world)), _nothing),
    "kill provider": lambda world, _: (lambda: _kill_process(world, "alts.runners.docker.provider"), _nothing),
    "kill terraform": lambda world, _: (lambda: _kill_process(world, "terraform"), _nothing),
}
"""A fault's name → the acts that break and mend its target."""


def _set_clock(world: World, target: str, offset: float) -> tuple[Act, Act]:
    clock = world.clocks[target.removeprefix("clock of ")]
    return partial(clock.set, offset), partial(clock.set, 0)


def _engine(world: World) -> PrivateEngine:
    assert world.servers.engine is not None
    return world.servers.engine


def _kill_machine(engine: PrivateEngine) -> None:
    """Remove the machine that is up the longest. Wait for one, and for an engine that answers."""

    def kill() -> bool:
        # The machine may have gone by itself, and another fault may have taken the engine away.
        with suppress(docker.errors.DockerException, OSError), closing(engine.client()) as client:
            for machine in client.containers.list(filters={"label": TASK_LABEL})[-1:]:
                machine.remove(force=True)
                return True
        return False

    _try_for_a_while(kill)


def _kill_process(world: World, word: str) -> None:
    """kill -9 a process that a worker has started. Wait for one."""

    def kill() -> bool:
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                words = (process / "cmdline").read_bytes()
                place = str((process / "cwd").readlink())
                if word.encode() in words and place.startswith(f"{world.folder}/"):
                    os.kill(int(process.name), signal.SIGKILL)
                    return True
        return False

    _try_for_a_while(kill)


def _try_for_a_while(act: Callable[[], bool]) -> None:
    until = time.monotonic() + VICTIM_SECONDS
    while not act() and time.monotonic() < until:
        time.sleep(0.02)


@contextmanager
def _away(strike: Act, mend: Act) -> Iterator[None]:
    strike()
    try:
        yield
    finally:
        mend()


@contextmanager
def _broken_link(world: World, link: str, mode: Mode) -> Iterator[None]:
    world.network.set(link, mode)
    try:
        yield
    finally:
        world.network.set(link, Mode.PASS)


@contextmanager
def _drained(world: World, name: str, trouble: list[str]) -> Iterator[None]:
    """Stop a worker like a supervisor, and start it again."""
    service = world.services[name]
    begun = service.has_said("ready.")
    service.terminate()
    code = service.wait(DRAIN_PATIENCE)
    # Before the worker takes tasks there is nothing to hand back, and the signal ends it like any program.
    if code != 0 and (begun or code != -signal.SIGTERM):
        trouble.append(f"{name} ended with {code} after a SIGTERM" if code is not None else f"{name} did not drain")
        service.kill_all()
    try:
        yield
    finally:
        service.start()
