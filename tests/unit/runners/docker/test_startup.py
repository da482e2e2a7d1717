"""The reason why nothing starts in a container, found with a new one of the same image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from alts.runners.docker.startup import why_nothing_starts
from alts.shared.models.report import Kind

LABELS = {"alts.task": "1"}


class FakeEngine:
    """One container with `current` of `limit` processes. A new one's shell exits with `code`."""

    def __init__(self, *, current: int = 3, limit: int | None = 64, code: int = 0, refuses: bool = False) -> None:
        self.there: dict[str, Mapping[str, str]] = {"ours": LABELS}
        self.made: list[Mapping[str, str]] = []
        self._processes = {"current": current, **({} if limit is None else {"limit": limit})}
        self._code = code
        self._refuses = refuses

    def stats(self, container: str, *, stream: bool) -> Any:
        return {"pids_stats": self._processes}

    def inspect_container(self, container: str) -> Mapping[str, Any]:
        return {"Image": "sha256:0", "Config": {"Labels": self.there[container]}}

    def create_host_config(self, *arguments: Any, **options: Any) -> Any:
        return options

    def create_container(self, *arguments: Any, **options: Any) -> Any:
        self.there["new"] = options["labels"]
        self.made.append(options["labels"])
        return {"Id": "new"}

    def start(self, *arguments: Any, **options: Any) -> Any:
        if self._refuses:
            raise OSError("the engine is in trouble")

    def wait(self, *arguments: Any, **options: Any) -> Any:
        return {"StatusCode": self._code}

    def remove_container(self, *arguments: Any, **options: Any) -> Any:
        del self.there[arguments[0]]


def test_a_container_that_is_worse_than_a_new_one_was_ruined() -> None:
    engine = FakeEngine()

    ruined = why_nothing_starts(engine, "ours", said="no such file or directory")

    assert ruined is not None
    assert (ruined.kind, ruined.evidence) == (None, "no such file or directory")
    assert engine.made == [LABELS]
    assert list(engine.there) == ["ours"]


def test_a_container_that_is_no_worse_than_a_new_one_was_not() -> None:
    assert why_nothing_starts(FakeEngine(code=127), "ours", said="") is None


@pytest.mark.parametrize(("current", "limit"), [(63, 64), (64, 64)])
def test_a_container_full_of_processes_needs_no_comparison(current: int, limit: int) -> None:
    engine = FakeEngine(current=current, limit=limit)

    ruined = why_nothing_starts(engine, "ours", said="")

    assert ruined is not None
    assert (ruined.kind, ruined.evidence) == (Kind.PROCESS_LIMIT_EXCEEDED, f"{current} of {limit}")
    assert engine.made == []


def test_a_container_without_a_limit_is_not_full() -> None:
    ruined = why_nothing_starts(FakeEngine(current=5000, limit=None), "ours", said="")

    assert ruined is not None
    assert ruined.kind is None


def test_the_new_one_is_taken_away_also_where_the_engine_is_in_trouble() -> None:
    engine = FakeEngine(refuses=True)

    with pytest.raises(OSError, match="trouble"):
        why_nothing_starts(engine, "ours", said="")

    assert list(engine.there) == ["ours"]
