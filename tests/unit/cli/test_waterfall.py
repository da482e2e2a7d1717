"""The waterfall of a task: every part at its place."""

from __future__ import annotations

import re
from typing import Any

import pytest

from alts.cli.waterfall import waterfall

TASK: dict[str, Any] = {
    "created_at": "2026-11-28T01:00:00+00:00",
    "started_at": "2026-11-28T01:00:02+00:00",
    "finished_at": "2026-11-28T01:00:10+00:00",
    "progress": [
        {
            "stage": "prepare",
            "seconds": 4.0,
            "steps": [
                {"name": "make the machine", "at": 0.0, "seconds": 3.0},
                {"name": "apt-get\nupdate", "at": 3.0, "seconds": 1.0},
            ],
        },
        {"stage": "install", "seconds": 2.0, "steps": []},
        {"stage": "purge", "seconds": 0.0},
    ],
}


def parts(task: dict[str, Any]) -> list[tuple[str, float, int, int]]:
    """Return name, seconds, first and last column of the bar of each line."""
    found = []
    for line in list(waterfall(task))[1:]:
        match = re.fullmatch(r"  (.{46}) +(\d+\.\d\d) s  ( *)(#+)", line)
        assert match, line
        before = len(match[3])
        found.append((match[1].rstrip(), float(match[2]), before, before + len(match[4])))
    return found


def test_the_first_line_is_the_whole() -> None:
    assert next(waterfall(TASK)) == "profile: 10.00 s from the request to the verdict"


def test_each_part_has_its_time_and_its_place() -> None:
    assert parts(TASK) == [
        ("queue", 2.0, 0, 8),
        ("prepare", 4.0, 8, 24),
        ("  make the machine", 3.0, 8, 20),
        ("  apt-get update", 1.0, 20, 24),
        ("install", 2.0, 24, 32),
        ("purge", 0.0, 32, 33),
        ("destroy, store, report", 2.0, 32, 40),
    ]


def test_a_long_name_is_cut() -> None:
    step = {"name": "x" * 100, "at": 0.0, "seconds": 1.0}
    stage = {"stage": "install", "seconds": 1.0, "steps": [step]}

    assert parts({**TASK, "progress": [stage]})[2][0] == f"  {'x' * 41}..."


@pytest.mark.parametrize("finished", ["2026-11-28T01:00:00+00:00", "2026-11-28T01:00:03+00:00"])
def test_clocks_that_disagree_do_no_harm(finished: str) -> None:
    # The stages are timed by the worker, the rest by the scheduler.
    assert len(parts({**TASK, "finished_at": finished})) == 7
