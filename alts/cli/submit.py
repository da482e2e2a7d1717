"""Submits one task over HTTP and prints its progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from alts.cli.waterfall import waterfall
from alts.shared.models.ledger import TaskState
from alts.shared.models.report import Outcome

POLL_INTERVAL = 0.1  # seconds
EXIT_CODES: Mapping[str, int] = {Outcome.PASSED: 0, Outcome.FAILED: 1, Outcome.ERRORED: 2, Outcome.CANCELLED: 3}

_MARKS: Mapping[str, str] = {
    Outcome.PASSED: "ok",
    Outcome.FAILED: "FAILED",
    Outcome.ERRORED: "ERROR",
    Outcome.CANCELLED: "cancelled",
    Outcome.SKIPPED: "skipped",
}


def try_package(
    url: str,
    token: str,
    request: Mapping[str, Any],
    *,
    say: Callable[[str], None],
    profile: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Schedule the request, print its stages and the verdict, and return the verdict's exit code (EXIT_CODES).

    `request`: body of POST /tasks/schedule. `say` prints a line. `profile`: print what the time went into, too.
    Raises httpx.HTTPError if the service does not answer, or answers with an error other than 422.
    """
    with httpx.Client(
        base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30, trust_env=False
    ) as client:
        answer = client.post("/tasks/schedule", json=dict(request))
        if answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY:
            for problem in answer.json()["detail"]:
                say(f"refused: {'.'.join(map(str, problem['loc'][1:]))}: {problem['msg']}")
            return EXIT_CODES[Outcome.ERRORED]
        answer.raise_for_status()
        task_id = answer.json()["task_id"]
        say(f"task {task_id}")
        _follow(client, task_id, say=say, sleep=sleep)
        result = client.get(f"/tasks/{task_id}/result").raise_for_status().json()
        exit_code = _say_verdict(result, say)
        if profile:
            for line in waterfall(client.get(f"/tasks/{task_id}").raise_for_status().json()):
                say(line)
    return exit_code


def _follow(client: httpx.Client, task_id: str, *, say: Callable[[str], None], sleep: Callable[[float], None]) -> None:
    """Print each stage once, when it has ended. A new attempt begins with its first stage."""
    shown, attempt = 0, 0
    while True:
        task = client.get(f"/tasks/{task_id}").raise_for_status().json()
        if task["attempt"] > 1 and task["attempt"] != attempt:
            say(f"attempt {task['attempt']}")
            shown = 0
        attempt = task["attempt"]
        stages = task["progress"]
        for stage in stages[shown:]:
            say(_stage_line(stage))
        shown = max(shown, len(stages))
        if task["phase"] == TaskState.FINISHED:
            return
        sleep(POLL_INTERVAL)


def _stage_line(stage: Mapping[str, Any]) -> str:
    line = f"  {stage['stage']:<14} {_MARKS[stage['outcome']]:<8} {stage['seconds']:6.2f} s"
    return f"{line}  {stage['reason']}".rstrip()


def _say_verdict(result: Mapping[str, Any], say: Callable[[str], None]) -> int:
    report = result["result"] or {}
    package = report.get("package") or {}
    say(f"verdict: {result['outcome']}" + (f" ({report['reason']})" if report.get("reason") else ""))
    if package:
        say(f"tested:  {package['name']} {package['version']} {package['architecture']} on {report['platform']}")
    if report.get("artifacts"):
        say(f"logs:    {report['artifacts']}")
    return EXIT_CODES[result["outcome"]]
