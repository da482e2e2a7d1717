"""A seed always gives the same plan, and together the plans contain every fault."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.chaos.plan import REAL_EVERY, Fault, is_real, names_of_faults, plan_for

SEEDS = range(1, 201)


def test_a_seed_is_always_the_same_plan() -> None:
    assert plan_for(7, tasks=24) == plan_for(7, tasks=24)
    assert plan_for(7, tasks=24) != plan_for(8, tasks=24)


def test_every_tenth_run_has_real_machines() -> None:
    assert sum(is_real(seed) for seed in SEEDS) == len(SEEDS) // REAL_EVERY


@pytest.mark.parametrize("real", [False, True], ids=["stub", "real"])
def test_two_hundred_runs_break_everything(real: bool) -> None:
    plans = [plan_for(seed, tasks=24) for seed in SEEDS if is_real(seed) is real]

    assert {fault.name for plan in plans for fault in plan.faults} == names_of_faults(real=real)


def test_a_target_is_broken_in_one_way_at_a_time() -> None:
    for seed in SEEDS:
        by_target: dict[str, list[Fault]] = {}
        for fault in plan_for(seed, tasks=24).faults:
            by_target.setdefault(fault.target, []).append(fault)
        for faults in by_target.values():
            assert all(one.at + one.seconds < other.at for one, other in pairwise(faults))


def test_whoever_asks_for_an_endless_task_also_cancels_it() -> None:
    for seed in SEEDS:
        for submission in plan_for(seed, tasks=24).submissions:
            assert not submission.package.endless or submission.cancel_at is not None
