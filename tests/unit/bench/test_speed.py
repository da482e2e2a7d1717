"""The figures of a speed run: what is compared with what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.contenders import FLOOR, described, first_command
from bench.plots import draw
from bench.speed import POOL, Sample, table, targets

BEST = f"embedded, {described(pool_size=POOL, lists=True)}"
OURS = f"RabbitMQ and S3, {described(pool_size=POOL, lists=True)}"


def sample(contender: str, seconds: float, *, at_once: int = 1, first: float | None = None) -> Sample:
    return Sample(contender, "hello", at_once, seconds, 1.0, first)


SAMPLES = [
    *(sample(FLOOR, seconds) for seconds in (3.0, 4.0, 9.0)),
    *(sample(BEST, seconds, first=0.04) for seconds in (1.0, 2.0, 3.0)),
    sample(OURS, 2.5, first=0.09),
    sample("piuparts (docker)", 11.0),
    sample(FLOOR, 2.0, at_once=4),
    sample(BEST, 0.5, at_once=4, first=0.3),
]


def test_the_table_has_medians_and_ratios_to_the_floor() -> None:
    [line] = [line for line in table(SAMPLES).splitlines() if line.startswith(BEST) and " 1 " in line]

    assert line.split()[-5:] == ["2.00", "1.00", "3.00", "1.00", "0.50"]


def test_each_target_is_printed_beside_what_was_measured() -> None:
    assert list(targets(SAMPLES)) == [
        "hello: 0.50 x bare docker run (goal: 0.5 or less)",
        "hello: 5.5 x faster than piuparts (docker) (goal: 5)",
        "hello, 4 at once: 4.00 x as many tests a minute as bare docker run (goal: 2)",
        f"hello, {BEST}: 40 ms to the first command (goal: 50 or less)",
        f"hello, {OURS}: 90 ms to the first command (goal: 80 or less)",
    ]


def a_task(*stages: dict[str, Any]) -> dict[str, Any]:
    return {
        "created_at": "2026-01-01T00:00:00+00:00",
        "started_at": "2026-01-01T00:00:00.500000+00:00",
        "progress": list(stages),
    }


def a_stage(seconds: float, *steps: tuple[str, float]) -> dict[str, Any]:
    return {"seconds": seconds, "steps": [{"name": name, "at": at} for name, at in steps]}


def test_the_first_command_comes_after_the_queue_and_the_machine() -> None:
    made = ("make the machine", 0.0)

    assert first_command(a_task(a_stage(1.0, made, ("apt-get --version", 0.25)))) == 0.75
    assert first_command(a_task(a_stage(1.0, made), a_stage(1.0, ("uname", 0.125)))) == 1.625
    with pytest.raises(ValueError, match="no command"):
        first_command(a_task(a_stage(1.0, made)))


def test_the_pictures_fetch_nothing_from_elsewhere(tmp_path: Path) -> None:
    draw(SAMPLES, tmp_path)

    for name in ("seconds.svg", "tests-a-minute.svg"):
        picture = (tmp_path / name).read_text()
        assert "bare docker run" in picture
        assert "<script" not in picture.replace('<script type="text/javascript">window.pygal', "")
        assert "xlink:href" not in picture
