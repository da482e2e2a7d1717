"""Every runner that a request may name can be made."""

from __future__ import annotations

from alts.runners.registry import RUNNERS
from alts.shared.models.runner_names import RUNNER_NAMES


def test_every_runner_that_a_task_can_ask_for_can_be_made() -> None:
    assert set(RUNNERS) == set(RUNNER_NAMES)
