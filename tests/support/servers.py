"""Private servers, started by the first test that needs them. tests/conftest.py offers them as fixtures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgresql import PrivatePostgreSQL
from tests.support.rabbitmq import PrivateRabbitMQ
from tests.support.s3 import PrivateS3


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[PrivateRabbitMQ]:
    """One RabbitMQ for all tests. A test that stops it starts it again, and removes the messages that it leaves."""
    with PrivateRabbitMQ() as server:
        yield server


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PrivatePostgreSQL]:
    """One PostgreSQL for all tests. Each test takes its own database."""
    with PrivatePostgreSQL() as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty database, for tests that must pass on both kinds."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/ledger.sqlite"
        return
    server: PrivatePostgreSQL = request.getfixturevalue("postgresql")
    with server.database() as url:
        yield url


@pytest.fixture(scope="session")
def s3() -> Iterator[PrivateS3]:
    """One S3 server for all tests. A test that must be alone takes its own bucket."""
    with PrivateS3() as server:
        yield server
