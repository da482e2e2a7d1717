"""The timeline of a stage, by a clock of the test's own."""

from __future__ import annotations

import pytest

from alts.pipeline.timeline import Timeline
from alts.shared.models.report import MOST_STEPS, Step


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_steps_have_their_times_from_the_beginning() -> None:
    clock = Clock()
    timeline = Timeline(clock)
    clock.now += 1
    with timeline.step("first"):
        clock.now += 2
    with timeline.step("second"):
        clock.now += 0.5

    assert timeline.steps == (Step(name="first", at=1, seconds=2), Step(name="second", at=3, seconds=0.5))
    assert timeline.seconds == 3.5


def test_a_step_that_fails_is_recorded() -> None:
    timeline = Timeline(Clock())

    with pytest.raises(ValueError, match="broken"), timeline.step("failing"):
        raise ValueError("broken")

    assert [step.name for step in timeline.steps] == ["failing"]


def test_steps_beyond_the_limit_are_left_out() -> None:
    timeline = Timeline(Clock())

    for number in range(MOST_STEPS + 5):
        with timeline.step(str(number)):
            pass

    assert [step.name for step in timeline.steps] == [str(number) for number in range(MOST_STEPS)]


def test_the_name_of_a_step_is_cut_in_the_middle() -> None:
    step = Step(name=f"begin{'x' * 1000}end", at=0, seconds=0)

    assert len(step.name) <= 160
    assert step.name.startswith("begin")
    assert step.name.endswith("end")
