"""Deadlines nest, and one request stops everything."""

from __future__ import annotations

import time

import pytest

from alts.core.stop import Stop, Stopped, StopReason


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_nearer_deadline_counts() -> None:
    clock = Clock()
    stop = Stop(100, clock=clock)

    assert stop.within(10).remaining == 10
    assert stop.within(1000).remaining == 100


def test_a_passed_deadline_is_the_reason() -> None:
    clock = Clock()
    stop = Stop(10, clock=clock)
    child = stop.within(5)

    clock.now = 6

    assert child.reason is StopReason.DEADLINE
    assert stop.reason is None
    assert child.remaining == 0


def test_a_request_reaches_every_child_and_outweighs_the_deadline() -> None:
    clock = Clock()
    stop = Stop(10, clock=clock)
    grandchild = stop.within(5).within(1)
    clock.now = 20

    stop.request(StopReason.CANCELLED)

    assert grandchild.reason is StopReason.CANCELLED
    with pytest.raises(Stopped):
        grandchild.check()


def test_the_first_request_stays() -> None:
    stop = Stop(10)
    stop.request(StopReason.LEASE_LOST)
    stop.request(StopReason.CANCELLED)

    assert stop.reason is StopReason.LEASE_LOST


def test_sleep_ends_with_a_request() -> None:
    stop = Stop(60)
    stop.request(StopReason.CANCELLED)
    started = time.monotonic()

    stop.within(50).sleep(30)

    assert time.monotonic() - started < 10
