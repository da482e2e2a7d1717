"""A container as a machine. The tests of a file share it until one of them changes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.support.debian_image import debian_image
from tests.support.machine import KeptMachine, Machine


@pytest.fixture(scope="module")
def kept() -> Iterator[KeptMachine]:
    with closing(KeptMachine(debian_image())) as kept:
        yield kept


@pytest.fixture
def machine(kept: KeptMachine) -> Iterator[Machine]:
    with kept.lent() as machine:
        yield machine
