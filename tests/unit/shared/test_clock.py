"""Wall time that follows the monotonic clock."""

from __future__ import annotations

import pytest

from alts.shared.clock import SteadyClock
from tests.support.scheduler_parts import HandClock

HOUR = 3600.0


class Host:
    """A host whose wall clock can jump."""

    def __init__(self) -> None:
        self.monotonic = HandClock(1000.0)
        self.wall = HandClock()
        self.clock = SteadyClock(wall=self.wall, monotonic=self.monotonic, settle=600.0)

    def pass_by(self, seconds: float) -> None:
        self.monotonic.pass_by(seconds)
        self.wall.pass_by(seconds)


def test_it_shows_the_wall_clock_s_time() -> None:
    host = Host()

    host.pass_by(5)

    assert host.clock() == host.wall()


@pytest.mark.parametrize("jump", [2 * HOUR, -3 * HOUR])
def test_a_jump_does_not_move_it(jump: float) -> None:
    host = Host()
    before = host.clock()

    host.wall.pass_by(jump)
    host.pass_by(7)

    assert host.clock() == pytest.approx(before + 7)
    assert host.clock.readings() == pytest.approx((before + 7, before + 7 + jump))


def test_a_jump_that_is_taken_back_has_never_happened() -> None:
    host = Host()

    host.wall.pass_by(2 * HOUR)
    for _ in range(10):
        host.pass_by(50)
        host.clock()
    host.wall.pass_by(-2 * HOUR)
    host.pass_by(500)

    assert host.clock() == pytest.approx(host.wall())


@pytest.mark.parametrize("jump", [2 * HOUR, -3 * HOUR])
def test_a_jump_that_stays_is_followed_in_the_end(jump: float) -> None:
    host = Host()

    host.wall.pass_by(jump)
    host.clock()
    host.pass_by(599)
    assert host.clock() == pytest.approx(host.wall() - jump)
    host.pass_by(2)

    assert host.clock() == pytest.approx(host.wall())


def test_a_second_jump_begins_the_wait_anew() -> None:
    host = Host()

    host.wall.pass_by(HOUR)
    host.clock()
    host.pass_by(400)
    host.wall.pass_by(HOUR)
    host.clock()
    host.pass_by(400)

    assert host.clock() == pytest.approx(host.wall() - 2 * HOUR)


def test_small_steps_are_followed_at_once() -> None:
    host = Host()

    host.wall.pass_by(-1.5)

    assert host.clock() == pytest.approx(host.wall())
