"""The waterfall of a task: what its time went into, as lines of text. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

_WIDTH = 40  # characters of the bars
_NAME = 46  # characters of a name


def waterfall(task: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each part of a finished task: queue, stages and their steps, and the end.

    `task`: the answer of GET /tasks/{id}. The end is everything after the last stage: the machine is destroyed, the
    artifacts are stored, and the report is sent. Of several attempts the last one is shown; the queue's time has all
    earlier ones.
    """
    created, started, finished = (
        datetime.fromisoformat(task[name]) for name in ("created_at", "started_at", "finished_at")
    )
    whole = (finished - created).total_seconds()
    waited = (started - created).total_seconds()
    yield f"profile: {whole:.2f} s from the request to the verdict"
    yield _line("queue", 0.0, waited, whole)
    at = waited
    for stage in task["progress"]:
        yield _line(stage["stage"], at, stage["seconds"], whole)
        for step in stage.get("steps", ()):
            yield _line(f"  {' '.join(step['name'].split())}", at + step["at"], step["seconds"], whole)
        at += stage["seconds"]
    yield _line("destroy, store, report", at, max(0.0, whole - at), whole)


def _line(name: str, at: float, seconds: float, whole: float) -> str:
    scale = _WIDTH / whole if whole > 0 else 0.0
    begin = min(round(at * scale), _WIDTH - 1)
    length = max(1, min(round((at + seconds) * scale), _WIDTH) - begin)
    name = name if len(name) <= _NAME else f"{name[: _NAME - 3]}..."
    return f"  {name:<{_NAME}} {seconds:7.2f} s  {' ' * begin}{'#' * length}"
