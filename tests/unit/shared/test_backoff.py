"""The pause before another try."""

from __future__ import annotations

import pytest

from alts.shared.backoff import backoff


@pytest.mark.parametrize(
    ("times", "seconds"), [(-1, 0.5), (0, 0.5), (1, 1.0), (3, 4.0), (5, 15.0), (10**6, 15.0)], ids=lambda value: value
)
def test_a_pause_doubles_up_to_its_limit(times: int, seconds: float) -> None:
    assert backoff(0.5, times=times, at_most=15.0) == seconds


def test_a_limit_below_the_first_pause_counts() -> None:
    assert backoff(0.5, times=0, at_most=0.1) == 0.1


def test_no_number_of_times_is_too_large_for_a_float() -> None:
    assert backoff(1e300, times=10**9, at_most=5.0) == 5.0
