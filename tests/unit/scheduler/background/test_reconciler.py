"""The reconciler lets leases lapse, but not because the scheduler itself was away."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import pytest

from alts.shared.errors import LedgerUnavailable
from scheduler.background.reconciler import Reconciler
from scheduler.ledger.leases import Lease
from tests.support.scheduler_parts import HandClock

LEASE = 30.0


class Leases:
    """One running task with a living or a dead worker, and one task whose invitation was lost."""

    def __init__(self) -> None:
        self.away = False
        self.expired: list[Lease] = []
        self.resends = 0
        self.recalls = 0
        self.requeues = 0
        self.heartbeats = 0.0
        self.alive = False
        self.takes_long: Callable[[], None] = lambda: None

    @property
    def expiries(self) -> int:
        return len(self.expired)

    def held(self) -> tuple[Lease, ...]:
        self.takes_long()
        self.heartbeats += self.alive
        return (Lease("task-1", 1, self.heartbeats),)

    def expire(self, lapsed: Iterable[Lease]) -> tuple[str, ...]:
        self.expired += lapsed
        return ("task-1",)

    def resend_lost(self) -> tuple[str, ...]:
        if self.away:
            raise LedgerUnavailable("away")
        self.resends += 1
        return ("task-2",)

    def requeue_all(self) -> tuple[str, ...]:
        self.requeues += 1
        if self.away:
            raise LedgerUnavailable("away")
        return ("task-4",)

    def recall_far_ahead(self) -> tuple[str, ...]:
        self.recalls += 1
        return ("task-3",)


def a_reconciler(leases: Leases, clock: HandClock) -> Reconciler:
    return Reconciler(leases, leases, interval=2.0, lease_seconds=LEASE, clock=clock)


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


def test_a_look_that_is_held_up_lets_nothing_lapse_that_was_good_when_it_began() -> None:
    leases, clock = Leases(), HandClock()
    reconciler = a_reconciler(leases, clock)
    leases.takes_long = lambda: clock.pass_by(LEASE * 10)
    reconciler.step()
    assert leases.expiries == 0

    leases.takes_long = lambda: None
    steps(reconciler, clock, seconds=LEASE)
    assert leases.expiries == 0

    steps(reconciler, clock, seconds=4)
    assert leases.expiries > 0


def test_a_lease_that_is_prolonged_never_lapses_whatever_time_is_written_in_it() -> None:
    leases, clock = Leases(), HandClock()
    reconciler = a_reconciler(leases, clock)
    leases.alive, leases.heartbeats = True, -1e6

    steps(reconciler, clock, seconds=LEASE * 5)

    assert leases.expiries == 0


def test_a_queue_that_was_lost_is_filled_again_once_the_ledger_can_be_written() -> None:
    leases, clock = Leases(), HandClock()
    reconciler = Reconciler(leases, leases, interval=2.0, lease_seconds=LEASE, queue_lost=True, clock=clock)
    leases.away = True
    with pytest.raises(LedgerUnavailable):
        reconciler.step()
    assert leases.requeues == 1

    leases.away = False
    steps(reconciler, clock, seconds=10)

    assert leases.requeues == 2


def test_times_far_ahead_are_recalled_at_the_start_and_again_every_half_minute() -> None:
    leases, clock = Leases(), HandClock()
    reconciler = a_reconciler(leases, clock)

    reconciler.step()
    assert leases.recalls == 1
    clock.pass_by(2)

    steps(reconciler, clock, seconds=58)
    assert leases.recalls == 2


def test_it_looks_by_itself_until_it_is_closed() -> None:
    leases = Leases()
    reconciler = Reconciler(leases, leases, interval=0.001, lease_seconds=0.01)

    reconciler.start()
    deadline = time.monotonic() + 10
    while not leases.expiries and time.monotonic() < deadline:
        time.sleep(0.005)
    reconciler.close()
    seen = leases.resends
    time.sleep(0.02)

    assert leases.expiries > 0
    assert leases.resends == seen
