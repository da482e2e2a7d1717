"""Private servers for tests, started by the first that asks; tests/conftest.py offers them to all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.services.rabbitmq import PrivateRabbitMQ
from tests.services.s3 import PrivateS3


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[PrivateRabbitMQ]:
    """One RabbitMQ for all: a test that stops it starts it again, and one that leaves messages removes them."""
    with PrivateRabbitMQ() as server:
        yield server


@pytest.fixture(scope="session")
def s3() -> Iterator[PrivateS3]:
    """One S3 server for all: a test that needs to be alone takes a bucket of its own."""
    with PrivateS3() as server:
        yield server
