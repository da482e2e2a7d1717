"""The callers submit, cancel and repeat requests. They do not give up while the service is away."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import httpx

from tests.chaos.plan import Submission
from tests.chaos.world import World

ANSWER_SECONDS = 3.0
PAUSE = 0.2
PATIENCE = 90.0
"""How long a caller tries, in seconds."""

Value = TypeVar("Value")


@dataclass
class Asked:
    """The result of a submission, as its caller knows it."""

    submission: Submission
    key: str
    task_id: str | None = None
    again: str | None = None
    """The task id in the answer to the repeated request."""
    other_body_status: int | None = None
    """The answer's status for another body with the same key."""
    cancel_status: int | None = None
    """200: the task had not begun. 202: its worker is asked to stop. 409: the task had ended."""
    trouble: list[str] = field(default_factory=list)
    ready: threading.Event = field(default_factory=threading.Event)


class Callers:
    """One thread for each request. `join` waits for all of them."""

    def __init__(self, world: World, *, started: float) -> None:
        """`started` is the origin of the plan's times (seconds of the monotonic clock)."""
        self._world = world
        self._started = started
        self._client = world.client(seconds=ANSWER_SECONDS)
        self._threads: list[threading.Thread] = []
        self.asked = [Asked(submission, key=uuid.uuid4().hex) for submission in world.plan.submissions]

    def start(self) -> None:
        for asked in self.asked:
            self._at(asked.submission.at, partial(self._submit, asked))
            if asked.submission.again_at is not None:
                self._at(asked.submission.again_at, partial(self._submit_again, asked))
            if asked.submission.cancel_at is not None:
                self._at(asked.submission.cancel_at, partial(self._cancel, asked))

    def join(self) -> None:
        for thread in self._threads:
            thread.join(PATIENCE + 10)
        self._client.close()

    def _at(self, seconds: float, act: Callable[[], None]) -> None:
        def wait_and_act() -> None:
            time.sleep(max(0.0, self._started + seconds - time.monotonic()))
            act()

        thread = threading.Thread(target=wait_and_act, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _submit(self, asked: Asked) -> None:
        answer = self._patiently(lambda: self._schedule(asked, self._body(asked)), asked, expected=(201,))
        if answer is not None:
            asked.task_id = str(answer.json()["task_id"])
            asked.ready.set()

    def _submit_again(self, asked: Asked) -> None:
        if not asked.ready.wait(PATIENCE):
            return
        answer = self._patiently(lambda: self._schedule(asked, self._body(asked)), asked, expected=(200, 201))
        asked.again = None if answer is None else str(answer.json()["task_id"])
        other = {**self._body(asked), "package_version": "2.0"}
        answer = self._patiently(lambda: self._schedule(asked, other), asked, expected=(409,))
        asked.other_body_status = None if answer is None else answer.status_code

    def _cancel(self, asked: Asked) -> None:
        if not asked.ready.wait(PATIENCE):
            return
        answer = self._patiently(
            lambda: self._client.post(f"/tasks/{asked.task_id}/cancel"), asked, expected=(200, 202, 409)
        )
        asked.cancel_status = None if answer is None else answer.status_code

    def _schedule(self, asked: Asked, body: Mapping[str, Any]) -> httpx.Response:
        return self._client.post("/tasks/schedule", json=body, headers={"Idempotency-Key": asked.key})

    def _patiently(
        self, ask: Callable[[], httpx.Response], asked: Asked, *, expected: tuple[int, ...]
    ) -> httpx.Response | None:
        """Repeat the request until the answer is not a temporary failure."""
        until = time.monotonic() + PATIENCE
        said = "nothing"
        while time.monotonic() < until:
            try:
                answer = ask()
            except httpx.HTTPError as error:
                said = str(error) or type(error).__name__
            else:
                if answer.status_code in expected:
                    return answer
                said = f"{answer.status_code}: {answer.text[:200]}"
                if not answer.is_server_error:
                    break
            time.sleep(PAUSE)
        asked.trouble.append(f"expected {expected}, heard {said}")
        return None

    def _body(self, asked: Asked) -> dict[str, Any]:
        repository = self._world.repository
        return {
            "dist_name": "debian",
            "dist_version": "12",
            "dist_arch": "x86_64",
            "package_name": asked.submission.package.name,
            "repositories": [{"url": repository, "trusted": True}] if repository else [],
        }
