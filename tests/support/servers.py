"""Private servers for tests, started by the first that asks; tests/conftest.py offers them to all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgresql import PrivatePostgreSQL
from tests.support.rabbitmq import PrivateRabbitMQ
from tests.support.s3 import PrivateS3


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[PrivateRabbitMQ]:
    """One RabbitMQ for all: a test that stops it starts it again, and one that leaves messages removes them."""
    with PrivateRabbitMQ() as server:
        yield server


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PrivatePostgreSQL]:
    """One PostgreSQL for all: each test takes a database of its own."""
    with PrivatePostgreSQL() as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Of an empty database, for a test of what must be the same with both."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/ledger.sqlite"
        return
    server: PrivatePostgreSQL = request.getfixturevalue("postgresql")
    with server.database() as url:
        yield url


@pytest.fixture(scope="session")
def s3() -> Iterator[PrivateS3]:
    """One S3 server for all: a test that needs to be alone takes a bucket of its own."""
    with PrivateS3() as server:
        yield server
