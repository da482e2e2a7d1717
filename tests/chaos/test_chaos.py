"""The short form of `make chaos`: a few runs that together break everything once, with and without real machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.command import run_all, shown, summary
from tests.chaos.plan import is_real, names_of_faults, plan_for

STUB_SEEDS = (5, 26, 6246, 210)
REAL_SEED = 569
TASKS = 20


def kinds(names: set[str]) -> set[str]:
    """Without the link that a fault of the network breaks: "cut worker>s3" is one kind with "cut worker>broker"."""
    return {name.split()[0] if ">" in name else name for name in names}


def test_the_short_form_breaks_everything_once() -> None:
    struck = {fault.name for seed in STUB_SEEDS for fault in plan_for(seed, tasks=TASKS).faults}

    assert kinds(struck) == kinds(names_of_faults(real=False))
    assert is_real(REAL_SEED)
    assert {"restart docker", "kill provider", "kill terraform", "kill machine"} <= {
        fault.name for fault in plan_for(REAL_SEED, tasks=TASKS).faults
    }


@pytest.mark.docker
@pytest.mark.services
def test_whatever_breaks_every_task_gets_its_one_true_verdict_and_nothing_is_left(tmp_path: Path) -> None:
    results = list(run_all((REAL_SEED, *STUB_SEEDS), tasks=TASKS, jobs=2, folder=tmp_path))

    assert not [result for result in results if result.violations], "\n".join(
        [*(shown(result) for result in results), summary(results, seconds=0)]
    )
    assert all(result.converged_in is not None for result in results)
