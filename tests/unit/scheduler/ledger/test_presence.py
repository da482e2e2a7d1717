"""The workers in /health."""

from __future__ import annotations

import pytest

from alts.shared.errors import InfrastructureError
from scheduler.ledger.presence import Presence, check_workers


def said(worker: str, *, ready: bool = True, reason: str = "") -> Presence:
    return Presence(worker, ready, reason, (), 0.0)


def test_workers_that_take_tasks_are_well() -> None:
    check_workers(lambda: (said("one"), said("two")))


def test_no_worker_at_all_is_said() -> None:
    with pytest.raises(InfrastructureError, match="no worker"):
        check_workers(tuple)


def test_a_worker_that_takes_none_is_named_with_its_reason() -> None:
    with pytest.raises(InfrastructureError, match="1 of 2 workers take tasks; not two: the disk is full"):
        check_workers(lambda: (said("one"), said("two", ready=False, reason="the disk is full")))
