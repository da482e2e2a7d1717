"""The reconciler: leases lapse, but not because we ourselves were away."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from alts.shared.errors import LedgerUnavailable
from scheduler.reconciler import Reconciler
from tests.scheduler_parts import HandClock

LEASE = 30.0


class Leases:
    """Counts what is asked of the ledger."""

    def __init__(self) -> None:
        self.away = False
        self.expiries = 0
        self.resends = 0
        self.wall = HandClock()
        self.as_of: float | None = None
        self.takes_long: Callable[[], None] = lambda: None

    def now(self) -> float:
        return self.wall.now

    def expire_leases(self, *, as_of: float | None = None) -> tuple[str, ...]:
        self.expiries += 1
        self.as_of = as_of
        return ("task-1",)

    def resend_lost(self) -> tuple[str, ...]:
        if self.away:
            raise LedgerUnavailable("away")
        self.takes_long()
        self.resends += 1
        return ("task-2",)


def a_reconciler(leases: Leases, clock: HandClock) -> Reconciler:
    return Reconciler(leases, interval=2.0, lease_seconds=LEASE, clock=clock)


def steps(reconciler: Reconciler, clock: HandClock, *, seconds: float) -> None:
    for _ in range(int(seconds / 2)):
        clock.pass_by(reconciler.step())


def test_no_lease_lapses_before_workers_had_a_whole_lease_to_be_heard() -> None:
    leases, clock = Leases(), HandClock()
    reconciler = a_reconciler(leases, clock)

    steps(reconciler, clock, seconds=LEASE)
    assert leases.expiries == 0
    assert leases.resends > 0

    steps(reconciler, clock, seconds=2)
    assert leases.expiries == 1


@pytest.mark.parametrize("trouble", ["frozen", "ledger away"])
def test_after_a_gap_workers_get_a_whole_lease_again(trouble: str) -> None:
    leases, clock = Leases(), HandClock()
    reconciler = a_reconciler(leases, clock)
    steps(reconciler, clock, seconds=LEASE + 4)
    before = leases.expiries
    assert before > 0

    if trouble == "ledger away":
        leases.away = True
        for _ in range(20):
            clock.pass_by(2)
            with pytest.raises(LedgerUnavailable):
                reconciler.step()
        leases.away = False
    clock.pass_by(LEASE)
    steps(reconciler, clock, seconds=LEASE)
    assert leases.expiries == before

    steps(reconciler, clock, seconds=4)
    assert leases.expiries > before


def test_a_short_hiccup_does_not_put_off_the_lapse() -> None:
    leases, clock = Leases(), HandClock()
    reconciler = a_reconciler(leases, clock)
    steps(reconciler, clock, seconds=LEASE + 4)
    before = leases.expiries

    clock.pass_by(5)
    reconciler.step()

    assert leases.expiries == before + 1


def test_a_step_that_is_held_up_lets_nothing_lapse_that_was_good_when_it_began() -> None:
    leases, clock = Leases(), HandClock()
    reconciler = a_reconciler(leases, clock)
    steps(reconciler, clock, seconds=LEASE + 4)
    begun = leases.wall.now

    def hold_up() -> None:
        clock.pass_by(LEASE * 10)
        leases.wall.pass_by(LEASE * 10)

    leases.takes_long = hold_up
    reconciler.step()
    assert leases.as_of == begun

    leases.takes_long = lambda: None
    expiries = leases.expiries
    steps(reconciler, clock, seconds=LEASE)
    assert leases.expiries == expiries


def test_a_ledgers_clock_that_was_set_forward_lets_nothing_lapse_at_once() -> None:
    leases, clock = Leases(), HandClock()
    reconciler = a_reconciler(leases, clock)
    steps(reconciler, clock, seconds=LEASE + 4)
    before = leases.expiries

    leases.wall.pass_by(3600)
    steps(reconciler, clock, seconds=LEASE)
    assert leases.expiries == before

    steps(reconciler, clock, seconds=4)
    assert leases.expiries > before


def test_it_looks_by_itself_until_it_is_closed() -> None:
    leases = Leases()
    reconciler = Reconciler(leases, interval=0.001, lease_seconds=0.01)

    reconciler.start()
    deadline = time.monotonic() + 10
    while not leases.expiries and time.monotonic() < deadline:
        time.sleep(0.005)
    reconciler.close()
    seen = leases.resends
    time.sleep(0.02)

    assert leases.expiries > 0
    assert leases.resends == seen
