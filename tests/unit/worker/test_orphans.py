"""Which objects may be removed from a shared engine."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from alts.runners.base import AttemptKey, Machine
from alts.worker.orphans import foreign, own_orphans

OWN, NEIGHBOUR, STRANGER = "own", "neighbour", "stranger"
HERE = {OWN, NEIGHBOUR}


def test_what_an_end_of_our_own_did_not_reach_is_an_orphan_and_what_is_at_work_is_not() -> None:
    machines = Machine(OWN, "ended", 1), Machine(OWN, "busy", 2), Machine(OWN, "busy", 1)

    assert own_orphans(machines, own=OWN, wanted={("busy", 2)}) == {("busy", 1), ("ended", 1)}


def test_a_neighbour_s_machines_are_left_to_the_slots() -> None:
    machines = [Machine(NEIGHBOUR, "t", 1)]

    assert not own_orphans(machines, own=OWN, wanted=())
    assert not foreign(machines, neighbours=HERE)


def test_a_machine_without_a_worker_is_foreign_as_those_of_other_hosts_are() -> None:
    machines = Machine(STRANGER, "a", 2), Machine(STRANGER, "a", 2), Machine("", "of-another-ledger", 1)

    assert foreign(machines, neighbours=HERE) == {("a", 2), ("of-another-ledger", 1)}


workers = st.sampled_from([OWN, NEIGHBOUR, STRANGER, ""])
attempts = st.tuples(st.sampled_from("abc"), st.integers(1, 3))


@given(st.lists(st.builds(lambda w, a: Machine(w, *a), workers, attempts)), st.sets(attempts))
def test_nothing_is_named_without_a_reason(machines: list[Machine], running: set[AttemptKey]) -> None:
    owners: dict[AttemptKey, set[str]] = {}
    for machine in machines:
        owners.setdefault((machine.task_id, machine.attempt), set()).add(machine.worker)

    orphans = own_orphans(machines, own=OWN, wanted=running)

    assert orphans == {attempt for attempt, by in owners.items() if OWN in by} - running
    assert foreign(machines, neighbours=HERE) == {attempt for attempt, by in owners.items() if by - HERE}
