"""How a pool's machines are divided among platforms."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from alts.runners.pool.targets import targets
from alts.shared.models.platform import Platform

TWELVE, THIRTEEN, NINE = (
    Platform("debian", "12", "x86_64"),
    Platform("debian", "13", "x86_64"),
    Platform("almalinux", "9", "x86_64"),
)


def test_nobody_has_asked_so_there_are_none() -> None:
    assert targets({}, size=4) == {}


def test_a_single_request_is_followed_by_a_single_machine() -> None:
    assert targets({TWELVE: 1}, size=4) == {TWELVE: 1}


def test_a_busy_platform_gets_the_whole_pool() -> None:
    assert targets({TWELVE: 50}, size=4) == {TWELVE: 4}


def test_each_platform_has_one_before_any_has_two() -> None:
    assert targets({NINE: 1, TWELVE: 50, THIRTEEN: 2}, size=4) == {NINE: 1, TWELVE: 2, THIRTEEN: 1}


def test_what_was_asked_for_last_comes_first_if_there_are_not_enough() -> None:
    assert targets({NINE: 1, TWELVE: 50, THIRTEEN: 9}, size=2) == {NINE: 1, TWELVE: 1}


@given(
    st.dictionaries(st.sampled_from([TWELVE, THIRTEEN, NINE]), st.integers(1, 30)),
    st.integers(0, 12),
)
def test_there_are_never_more_than_the_size_nor_than_requests(demand: dict[Platform, int], size: int) -> None:
    found = targets(demand, size=size)

    assert sum(found.values()) == min(size, sum(demand.values()))
    assert all(0 < count <= demand[platform] for platform, count in found.items())
