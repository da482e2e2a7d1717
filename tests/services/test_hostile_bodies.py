"""Forty callers send hostile bodies within the size limits at once. /health answers, and memory stays bounded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.crowd import Beside, LoneScheduler, beside
from tests.support.hostile_bodies import HOSTILE, Hostile

pytestmark = pytest.mark.fuzz

PROMISED = 0.1  # seconds
CALLERS = 40
# Other load on this machine can slow down one round, but not all of them.
ROUNDS = 16
# Each of the callers sends at least once, and /health is asked some hundred times.
FIRST = 0.5  # seconds of the first round; the others take longer, so that a pass is no luck
MEMORY_MB = 100


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoneScheduler]:
    # No rate limit: it would refuse most requests of a crowd before their bodies are read.
    with LoneScheduler(tmp_path_factory.mktemp("crowd"), caller_requests_per_minute=0) as running:
        yield running


# Neighbours in the table cost alike: `make test` sends every sixth.
KINDS = [
    pytest.param(hostile, id=hostile.name, marks=() if number % 6 == 0 else pytest.mark.long)
    for number, hostile in enumerate(HOSTILE)
]


@pytest.mark.parametrize("hostile", KINDS)
def test_health_answers_in_time_beside_forty(scheduler: LoneScheduler, hostile: Hostile) -> None:
    rounds = [beside(scheduler, hostile, callers=CALLERS, seconds=FIRST)]
    while not is_kept(rounds[-1]) and len(rounds) < ROUNDS:
        # The longer a round, the more answers, and the more likely a slow one.
        few = sum(not has_answers(seen) for seen in rounds)
        rounds.append(beside(scheduler, hostile, callers=CALLERS, seconds=1 + few))

    assert is_kept(rounds[-1]), [(seen.longest, seen.statuses) for seen in rounds]


def is_kept(seen: Beside) -> bool:
    """Tell whether /health answered in time while as many requests as there are callers were answered."""
    return seen.longest <= PROMISED and has_answers(seen)


def has_answers(seen: Beside) -> bool:
    return sum(seen.statuses.values()) >= CALLERS


def test_memory_is_bounded(tmp_path: Path) -> None:
    texts = [hostile for hostile in HOSTILE if hostile.name in ("admin: long name", "worker: stages {}")]
    with LoneScheduler(tmp_path) as scheduler:
        before = scheduler.memory_mb
        for hostile in texts:
            beside(scheduler, hostile, callers=CALLERS, seconds=2)

        assert scheduler.peak_mb <= before + MEMORY_MB
