"""What several acceptance tests compare with; tests/conftest.py offers it to all."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.embedded import EmbeddedService
from tests.services.stack import schedule, wait_for


@pytest.fixture(scope="session")
def hello_report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the embedded stack reports of `hello` on Debian 12."""
    with EmbeddedService(tmp_path_factory.mktemp("hello")) as service, service.client as client:
        report: dict[str, Any] = wait_for(client, schedule(client))["result"]
        return report
