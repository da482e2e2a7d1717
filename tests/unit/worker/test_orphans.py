"""What may be removed from an engine that others use, too."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from hypothesis import given
from hypothesis import strategies as st

from alts.runners.base import Machine
from alts.worker.orphans import Attempt, orphans

OWN, NEIGHBOUR, STRANGER = "own", "neighbour", "stranger"


def reap(*machines: Machine, active: Collection[Attempt] = (), over: Collection[Attempt] = ()) -> tuple[Attempt, ...]:
    return orphans(machines, own=OWN, active=active, neighbours={OWN, NEIGHBOUR}, over=lambda attempts: over)


def test_what_an_end_of_our_own_did_not_reach_goes_and_what_is_at_work_stays() -> None:
    machines = Machine(OWN, "ended", 1), Machine(OWN, "busy", 2), Machine(OWN, "busy", 1)

    assert reap(*machines, active={("busy", 2)}) == (("busy", 1), ("ended", 1))


def test_a_neighbour_s_machines_are_left_to_the_slots() -> None:
    assert reap(Machine(NEIGHBOUR, "t", 1), over={("t", 1)}) == ()


def test_a_stranger_s_machine_goes_only_when_the_ledger_knows_that_it_is_over() -> None:
    machines = Machine(STRANGER, "over", 1), Machine(STRANGER, "alive", 1), Machine("", "of-another-ledger", 1)

    assert reap(*machines, over={("over", 1)}) == (("over", 1),)


def test_the_ledger_is_asked_once_for_all_and_not_at_all_for_nothing() -> None:
    asked: list[Sequence[Attempt]] = []

    def over(attempts: Sequence[Attempt]) -> Collection[Attempt]:
        asked.append(attempts)
        return ()

    orphans([Machine(OWN, "t", 1)], own=OWN, active=(), neighbours={OWN}, over=over)
    assert asked == []
    machines = [Machine(STRANGER, "b", 1), Machine(STRANGER, "a", 2), Machine(STRANGER, "a", 2)]
    orphans(machines, own=OWN, active=(), neighbours={OWN}, over=over)
    assert asked == [[("a", 2), ("b", 1)]]


workers = st.sampled_from([OWN, NEIGHBOUR, STRANGER, ""])
attempts = st.tuples(st.sampled_from("abc"), st.integers(1, 3))


@given(st.lists(st.builds(lambda w, a: Machine(w, *a), workers, attempts)), st.sets(attempts), st.sets(attempts))
def test_nothing_is_removed_without_a_reason(machines: list[Machine], active: set[Attempt], over: set[Attempt]) -> None:
    for task_id, attempt in reap(*machines, active=active, over=over):
        owners = {machine.worker for machine in machines if (machine.task_id, machine.attempt) == (task_id, attempt)}
        assert (OWN in owners and (task_id, attempt) not in active) or (
            owners - {OWN, NEIGHBOUR} and (task_id, attempt) in over
        )
