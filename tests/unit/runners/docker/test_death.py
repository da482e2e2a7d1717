"""The cause of a container's end: the package only if no other cause is possible."""

from __future__ import annotations

from typing import Any

import pytest

from alts.runners.docker.death import ended_by_itself, ran_out_of_memory

OURS, OTHER = "a" * 64, "b" * 64
SECOND = 1_000_000_000
KILLED_BY_KERNEL = {"Running": False, "OOMKilled": True, "ExitCode": 137}


def event(action: str, at: float, container: str = OURS) -> dict[str, Any]:
    return {"Action": action, "Actor": {"ID": container}, "timeNano": int(at * SECOND)}


def test_memory_that_ran_out_ended_it_where_nobody_else_did() -> None:
    events = [event("start", 1), event("kill", 5, OTHER), event("oom", 8.9), event("die", 9)]

    assert ran_out_of_memory(OURS, KILLED_BY_KERNEL, events)


@pytest.mark.parametrize(
    ("state", "events"),
    [
        ({**KILLED_BY_KERNEL, "OOMKilled": False}, [event("start", 1), event("die", 9)]),
        (KILLED_BY_KERNEL, [event("start", 1), event("oom", 5), event("kill", 9), event("die", 9)]),
        (KILLED_BY_KERNEL, [event("start", 1), event("oom", 5), event("die", 9), event("kill", 9.01)]),
        (KILLED_BY_KERNEL, []),
        (KILLED_BY_KERNEL, [event("start", 1, OTHER)]),
        (KILLED_BY_KERNEL, [event("oom", 8.9), event("die", 9)]),
    ],
    ids=[
        "not for want of memory",
        "killed by the engine",
        "the kill is told late",
        "an engine that has just started",
        "the death is forgotten",
        "what was before is forgotten",
    ],
)
def test_when_in_doubt_it_was_somebody_else(state: dict[str, Any], events: list[dict[str, Any]]) -> None:
    assert not ran_out_of_memory(OURS, state, events)


EXITED = {"Running": False, "OOMKilled": False, "ExitCode": 7}


def test_a_first_process_that_exits_was_made_to_by_what_runs_beside_it() -> None:
    events = [event("start", 1), event("kill", 5, OTHER), event("die", 9)]

    assert ended_by_itself(OURS, EXITED, events)


@pytest.mark.parametrize(
    ("state", "events"),
    [
        ({**EXITED, "ExitCode": 137}, [event("start", 1), event("die", 9)]),
        ({**EXITED, "ExitCode": 139}, [event("start", 1), event("die", 9)]),
        ({**EXITED, "ExitCode": 255}, [event("start", 1), event("die", 9)]),
        (EXITED, [event("start", 1), event("kill", 8), event("die", 9)]),
        (EXITED, [event("start", 1, OTHER)]),
        (EXITED, []),
    ],
    ids=["SIGKILL", "another signal", "not known", "killed by the engine", "the death is forgotten", "a new engine"],
)
def test_a_first_process_that_may_have_been_killed_from_outside_is_not_held_against_anybody(
    state: dict[str, Any], events: list[dict[str, Any]]
) -> None:
    assert not ended_by_itself(OURS, state, events)
