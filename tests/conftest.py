"""Fixtures for every test."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.fixtures import hello_report, rpm_corpus
from tests.leftovers import leftovers, unnamed_things
from tests.services.fixtures import database_url, postgresql, rabbitmq, s3

__all__ = ["database_url", "hello_report", "nothing_left_behind", "postgresql", "rabbitmq", "rpm_corpus", "s3"]


# A shell lets its background jobs ignore Ctrl-C (POSIX, "Asynchronous Lists"), and what ignores it passes that on: the
# processes that tests start must hear it wherever the tests were started.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test with real containers ends with the machine as it was."""
    if request.node.get_closest_marker("docker") is None:
        yield
        return
    folder: Path = request.getfixturevalue("tmp_path")
    before = unnamed_things()
    yield
    assert leftovers(before, folder) == []
