"""The short form of `make chaos`: a few runs that together contain every fault, with and without real machines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.chaos.command import run_all, shown, summary
from tests.chaos.plan import Plan, is_real, names_of_faults, plan_for

# Three runs with more faults each than `make chaos` draws: starting the servers costs more than a fault.
STUBS = tuple(plan_for(seed, tasks=14, faults=8) for seed in (1, 22, 45603))
REAL = plan_for(569, tasks=20)


def kinds(names: set[str]) -> set[str]:
    """Drop the link of a network fault: "cut worker>s3" and "cut worker>broker" are one kind."""
    return {name.split()[0] if ">" in name else name for name in names}


def test_the_short_form_breaks_everything_once() -> None:
    struck = {fault.name for plan in STUBS for fault in plan.faults}

    assert kinds(struck) == kinds(names_of_faults(real=False))
    assert is_real(REAL.seed)
    assert {"restart docker", "kill provider", "kill terraform", "kill machine"} <= {
        fault.name for fault in REAL.faults
    }


def violations_of(plans: Sequence[Plan], folder: Path) -> str:
    """Carry out the plans. Return the violations with their plans, or an empty text."""
    results = list(run_all(plans, jobs=2, folder=folder))
    assert all(result.converged_in is not None for result in results), "\n".join(map(shown, results))
    if not any(result.violations for result in results):
        return ""
    return "\n".join([*map(shown, results), summary(results, seconds=0)])


@pytest.mark.services
def test_whatever_breaks_every_task_gets_its_one_true_verdict_and_nothing_is_left(tmp_path: Path) -> None:
    assert violations_of(STUBS, tmp_path) == ""


@pytest.mark.docker
@pytest.mark.services
@pytest.mark.long
def test_the_same_with_real_machines_on_an_engine_that_is_broken_too(tmp_path: Path) -> None:
    assert violations_of((REAL,), tmp_path) == ""
