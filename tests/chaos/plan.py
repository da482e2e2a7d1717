"""The plan of a chaos run: all random choices, drawn from the seed before anything starts. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tests.chaos.packages import REAL_PACKAGES, STUB_PACKAGES, Package

SUBMITTING = 2.5  # seconds from a run's start in which its tasks are submitted
BREAKING = (0.3, 4.0)  # seconds from a run's start in which its faults begin
REAL_EVERY = 10
"""One of so many seeds is for a run with real machines."""
REAL_STRETCH = 4.0
"""The factor by which the times of a run with real machines are longer."""
REAL_TASKS = 5 / 6
"""The factor for the tasks of a run with real machines: 20 instead of 24."""

WORKERS = ("worker-1", "worker-2")
CLOCKS = ("clock of scheduler", "clock of worker-1", "clock of worker-2")


class Kind(StrEnum):
    """The action of a fault on its target."""

    KILL = "kill"
    FREEZE = "freeze"
    DRAIN = "drain"
    RESTART = "restart"
    CUT = "cut"
    HANG = "hang"
    LOSE = "lose"
    SWALLOW = "swallow"
    SLOW = "slow"
    REFUSE = "refuse"
    FILL = "fill"
    PURGE = "purge"
    DUPLICATE = "duplicate"
    ADVANCE = "advance"
    SETBACK = "set back"


@dataclass(frozen=True)
class Fault:
    """A fault: its begin (seconds from the run's start), its target, and the seconds until its mend."""

    at: float
    kind: Kind
    target: str
    seconds: float

    @property
    def name(self) -> str:
        """E.g. "kill worker"; both workers have the same name."""
        return f"{self.kind} {self.target.replace('-1', '').replace('-2', '')}"


@dataclass(frozen=True)
class Submission:
    """A request for a task. Times are seconds from the run's start."""

    at: float
    package: Package
    cancel_at: float | None = None
    again_at: float | None = None
    """When the same request is sent once more, with the same Idempotency-Key."""


@dataclass(frozen=True)
class Plan:
    """The events of a run."""

    seed: int
    real: bool
    one_host: bool
    """Whether both workers share a work folder. If not, they work as on two hosts."""
    submissions: tuple[Submission, ...]
    faults: tuple[Fault, ...]

    def sets_clock_of(self, service: str) -> bool:
        """Whether a fault sets the time of day of that process."""
        return any(fault.target == f"clock of {service}" for fault in self.faults)


@dataclass(frozen=True)
class _Row:
    kind: Kind
    targets: Sequence[str]
    seconds: tuple[float, float]
    weight: int


def _links(*servers: str, clients: Iterable[str] = WORKERS) -> tuple[str, ...]:
    return tuple(f"{client}>{server}" for client in clients for server in servers)


_ALL_LINKS = (*_links("scheduler", "broker", "s3"), "scheduler>broker", "scheduler>s3")

# Seconds. A lease is 1.6, so a worker that is frozen or cut off for longer has lost its tasks when it comes back.
_FAULTS = (
    _Row(Kind.KILL, WORKERS, (0.1, 2.0), 8),
    _Row(Kind.FREEZE, WORKERS, (0.5, 3.5), 8),
    _Row(Kind.DRAIN, WORKERS, (0.1, 2.0), 6),
    _Row(Kind.KILL, ("scheduler",), (0.1, 2.0), 6),
    _Row(Kind.FREEZE, ("scheduler",), (0.5, 3.0), 5),
    _Row(Kind.KILL, ("broker",), (0.0, 1.0), 1),
    _Row(Kind.RESTART, ("broker",), (0.0, 1.0), 1),
    _Row(Kind.KILL, ("s3",), (0.1, 3.0), 2),
    _Row(Kind.CUT, _ALL_LINKS, (0.1, 3.0), 4),
    _Row(Kind.HANG, _ALL_LINKS, (0.5, 3.0), 4),
    _Row(Kind.LOSE, _links("scheduler", "s3"), (0.5, 3.0), 3),
    _Row(Kind.SWALLOW, (*_links("scheduler", "s3"), "scheduler>broker"), (0.3, 2.0), 5),
    _Row(Kind.SLOW, _ALL_LINKS, (1.0, 3.0), 2),
    _Row(Kind.REFUSE, _links("s3"), (0.5, 3.0), 4),
    _Row(Kind.FILL, ("disk",), (0.5, 3.0), 3),
    _Row(Kind.PURGE, ("queue",), (0.0, 0.0), 4),
    _Row(Kind.DUPLICATE, ("queue",), (0.0, 0.0), 4),
    _Row(Kind.ADVANCE, CLOCKS, (0.1, 3.0), 4),
    _Row(Kind.SETBACK, CLOCKS, (0.1, 3.0), 4),
)
_REAL_FAULTS = (
    _Row(Kind.KILL, WORKERS, (0.1, 2.0), 3),
    _Row(Kind.FREEZE, WORKERS, (0.5, 4.5), 2),
    _Row(Kind.DRAIN, WORKERS, (0.1, 2.0), 2),
    _Row(Kind.KILL, ("scheduler",), (0.1, 2.0), 1),
    _Row(Kind.KILL, ("provider",), (0.0, 0.0), 4),
    _Row(Kind.KILL, ("terraform",), (0.0, 0.0), 4),
    _Row(Kind.KILL, ("machine",), (0.0, 0.0), 4),
    _Row(Kind.RESTART, ("docker",), (0.0, 2.0), 2),
    _Row(Kind.KILL, ("docker",), (0.0, 2.0), 2),
    _Row(Kind.CUT, _links("scheduler", "s3"), (0.5, 4.0), 1),
)


def names_of_faults(*, real: bool) -> set[str]:
    """Return every name that a plan's faults may have."""
    return {Fault(0, row.kind, target, 0).name for row in _rows(real=real) for target in row.targets}


def is_real(seed: int) -> bool:
    """Whether the run of that seed has real machines."""
    return seed % REAL_EVERY == REAL_EVERY - 1


def plan_for(seed: int, *, tasks: int, faults: int | None = None) -> Plan:
    """Return the plan of that seed, which is always the same. `faults`: their number; None to draw it."""
    dice = random.Random(seed)
    real = is_real(seed)
    stretch = REAL_STRETCH if real else 1.0
    packages = REAL_PACKAGES if real else STUB_PACKAGES
    count = max(2, round(tasks * REAL_TASKS)) if real else tasks
    # Faults are drawn first, so a seed has the same faults for any number of tasks.
    drawn = dice.randint(3, 5)
    chosen = _faults(dice, seed, real=real, count=faults or drawn)
    submissions = [_submission(dice, packages, stretch=stretch) for _ in range(count)]
    return Plan(
        seed=seed,
        real=real,
        one_host=dice.random() < 0.5,
        submissions=tuple(sorted(submissions, key=lambda submission: submission.at)),
        faults=chosen,
    )


def _rows(*, real: bool) -> Sequence[_Row]:
    return _REAL_FAULTS if real else _FAULTS


def _submission(dice: random.Random, packages: Sequence[Package], *, stretch: float) -> Submission:
    [package] = dice.choices(packages, weights=[package.weight for package in packages])
    at = dice.uniform(0, SUBMITTING * stretch)
    cancel_at = again_at = None
    if package.endless:
        cancel_at = at + dice.uniform(0.5, 2.5) * stretch
    elif dice.random() < 0.12:
        cancel_at = at + dice.uniform(0.0, 2.0) * stretch
    again, later = dice.random() < 0.15, dice.uniform(0.1, 3.0)
    if again:
        again_at = at + later
    return Submission(at, package, cancel_at, again_at)


def _faults(dice: random.Random, seed: int, *, real: bool, count: int) -> tuple[Fault, ...]:
    """Draw the faults. Each target has one fault at a time. The seed sets the first, so every kind gets its turn."""
    rows = _rows(real=real)
    turn = seed // REAL_EVERY if real else seed
    chosen = [rows[turn % len(rows)], *dice.choices(rows, weights=[row.weight for row in rows], k=count * 20)]
    faults: list[Fault] = []
    for row in chosen:
        if len(faults) == count:
            break
        target = dice.choice(row.targets) if faults else row.targets[turn // len(rows) % len(row.targets)]
        at = dice.uniform(BREAKING[0], BREAKING[1] * (REAL_STRETCH if real else 1.0))
        fault = Fault(at, row.kind, target, dice.uniform(*row.seconds))
        if not any(_overlap(fault, other) for other in faults):
            faults.append(fault)
    return tuple(sorted(faults, key=lambda fault: fault.at))


def _overlap(one: Fault, other: Fault) -> bool:
    return one.target == other.target and one.at <= other.at + other.seconds and other.at <= one.at + one.seconds
