"""The short form of `make chaos`: a few runs that together contain every fault, with and without real machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.command import run_all, shown, summary
from tests.chaos.plan import is_real, names_of_faults, plan_for

STUB_SEEDS = (5016, 1763, 1638, 1107, 11064)
REAL_SEED = 569
TASKS = 20


def kinds(names: set[str]) -> set[str]:
    """Drop the link of a network fault: "cut worker>s3" and "cut worker>broker" are one kind."""
    return {name.split()[0] if ">" in name else name for name in names}


def test_the_short_form_breaks_everything_once() -> None:
    struck = {fault.name for seed in STUB_SEEDS for fault in plan_for(seed, tasks=TASKS).faults}

    assert kinds(struck) == kinds(names_of_faults(real=False))
    assert is_real(REAL_SEED)
    assert {"restart docker", "kill provider", "kill terraform", "kill machine"} <= {
        fault.name for fault in plan_for(REAL_SEED, tasks=TASKS).faults
    }


def violations_of(seeds: tuple[int, ...], folder: Path) -> str:
    """Run the seeds. Return the violations with their plans, or an empty text."""
    results = list(run_all(seeds, tasks=TASKS, jobs=2, folder=folder))
    assert all(result.converged_in is not None for result in results), "\n".join(map(shown, results))
    if not any(result.violations for result in results):
        return ""
    return "\n".join([*map(shown, results), summary(results, seconds=0)])


@pytest.mark.services
def test_whatever_breaks_every_task_gets_its_one_true_verdict_and_nothing_is_left(tmp_path: Path) -> None:
    assert violations_of(STUB_SEEDS, tmp_path) == ""


@pytest.mark.docker
@pytest.mark.services
@pytest.mark.long
def test_the_same_with_real_machines_on_an_engine_that_is_broken_too(tmp_path: Path) -> None:
    assert violations_of((REAL_SEED,), tmp_path) == ""
