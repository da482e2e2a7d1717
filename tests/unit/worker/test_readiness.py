"""No task is claimed that could not be carried out."""

from __future__ import annotations

from pathlib import Path

from alts.worker.readiness import Readiness, disk_trouble


def test_the_first_check_that_has_something_to_say_is_heard() -> None:
    asked: list[str] = []

    def check(name: str, answer: str) -> str:
        asked.append(name)
        return answer

    readiness = Readiness(
        (lambda: check("disk", ""), lambda: check("engine", "no answer"), lambda: check("spool", "full"))
    )

    assert readiness.trouble == "no answer"
    assert asked == ["disk", "engine"]


def test_an_answer_is_good_for_a_second_and_recovery_needs_nobody() -> None:
    now, answers = [0.0], ["away", ""]
    readiness = Readiness((lambda: answers.pop(0),), clock=lambda: now[0])

    assert readiness.trouble == "away"
    now[0] = 0.9
    assert readiness.trouble == "away"
    now[0] = 2.0
    assert readiness.trouble == ""


def test_a_disk_with_room_is_fine_and_one_without_says_how_much_there_is(tmp_path: Path) -> None:
    assert disk_trouble(tmp_path, min_free_mb=0) == ""
    assert f"MB are free at {tmp_path}, and {10**9} MB are needed" in disk_trouble(tmp_path, min_free_mb=10**9)
    assert "is unknown: No such file" in disk_trouble(tmp_path / "gone", min_free_mb=0)
