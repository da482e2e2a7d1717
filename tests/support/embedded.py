"""The embedded stack, with its folders below a test's folder."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import httpx

from alts.embedded.stack import EmbeddedStack
from alts.runners.registry import RUNNERS, MakeRunner
from alts.shared.auth.tokens import issue_token
from tests.support.builders import a_config
from tests.support.checkout import ROOT
from tests.support.ports import free_ports
from tests.support.stack import LISTS_MAX_AGE


class EmbeddedService:
    """Serves between `__enter__` and `__exit__`."""

    def __init__(self, folder: Path, *, registry: Mapping[str, MakeRunner] = RUNNERS, **changes: Any) -> None:
        """`changes`: of the configuration."""
        (port,) = free_ports(1)
        # All tests share the images of real machines. Those of other machines would serve one test alone.
        max_age = LISTS_MAX_AGE if registry is RUNNERS else 0
        self._config = a_config(
            database_url=f"sqlite:///{folder}/ledger.sqlite",
            storage_folder=str(folder / "storage"),
            work_folder=str(folder / "work"),
            # Images belong to the host, so all tests share them.
            cache_folder=str(ROOT / ".alts/cache"),
            # Some tests need a repository on this host that does not answer.
            repository_networks_allowed=["127.0.0.0/8"],
            **{"max_attempts": 1, "drain_timeout": 0.0, "repository_max_age": max_age, **changes},
        )
        self._stack = EmbeddedStack(self._config, host="127.0.0.1", port=port, runners=registry)

    def __enter__(self) -> Self:
        self._stack.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    @property
    def client(self) -> httpx.Client:
        token = issue_token(
            self._config.jwt_secret, algorithm="HS256", email="test@example.com", lifetime=timedelta(hours=1)
        )
        return httpx.Client(
            base_url=self._stack.url, headers={"Authorization": f"Bearer {token}"}, timeout=10, trust_env=False
        )

    @staticmethod
    def read(location: str) -> str:
        """Read the artifact at a file:// address."""
        return Path(unquote(urlsplit(location).path)).read_text()
