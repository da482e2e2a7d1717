"""Fixtures and hooks for every test."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.acceptance import hello_report, rpm_corpus
from tests.support.checkout import ROOT
from tests.support.engine_journal import EngineJournal
from tests.support.groups import GroupScheduling, rank
from tests.support.leftovers import RUN_LABEL, THIS_RUN, WORKER_LABEL, leftovers, workers_of
from tests.support.servers import database_url, postgresql, rabbitmq, s3
from tests.support.suites import NOTHING, suites

UNIT = ROOT / "tests/unit"
UNIT_TIMEOUT = 120.0
"""Seconds, for a test that does not set its own. One that hangs must not cost the whole run its time."""

__all__ = [
    "database_url",
    "engine_journal",
    "hello_report",
    "nothing_left_behind",
    "nothing_left_behind_by_the_file",
    "postgresql",
    "rabbitmq",
    "rpm_corpus",
    "s3",
]


# A shell makes its background jobs ignore Ctrl-C (POSIX, "Asynchronous Lists"), and children inherit that. The
# processes that tests start must hear Ctrl-C in any case.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> GroupScheduling | None:
    """Spread the tests over processes by tests.support.groups (make test)."""
    return GroupScheduling(config, log) if config.getoption("dist") == "loadscope" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort the slowest tests first in each of several processes. A single process keeps the order of the files."""
    for item in items:
        if UNIT in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(UNIT_TIMEOUT))
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: rank(item.nodeid))


# There is no garbage to speak of until the tests are collected.
gc.disable()


def pytest_collection_finish() -> None:
    """Leave the thousands of collected tests out of every later look for garbage, and look for it less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    gc.enable()


def uses_the_engine(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(name) for name in ("docker", "compose"))


def folders_in(base: Path) -> set[Path]:
    """Return the folders of tests and fixtures. pytest keeps a link to the newest of each name beside them."""
    return {path for path in base.iterdir() if path.is_dir() and not path.is_symlink()}


@pytest.fixture(scope="session")
def engine_journal() -> Iterator[EngineJournal]:
    with EngineJournal() as journal:
        yield journal


@pytest.fixture(scope="module", autouse=True)
def nothing_left_behind_by_the_file(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Check that a file with engine tests leaves the host clean and keeps within its row of CONTRIBUTING.md.

    pytest sets up a file's autouse fixtures before its others and tears them down after them, so this one sees the
    leftovers of the file's own fixtures.
    """
    items = [item for item in request.session.items if item.getparent(pytest.Module) is request.node]
    if not any(map(uses_the_engine, items)):
        yield
        return
    journal: EngineJournal = request.getfixturevalue("engine_journal")
    base = tmp_path_factory.getbasetemp()
    before = folders_in(base)
    earlier = {made.id for made in journal.made()}
    yield
    folders = sorted(folders_in(base) - before)
    workers = {worker for folder in folders for worker in workers_of(folder)}
    made = [one for one in journal.made() if one.id not in earlier]
    machines = [one for one in made if one.labels.get(WORKER_LABEL) in workers]
    own = [one for one in made if one not in machines and one.labels.get(RUN_LABEL) == THIS_RUN[RUN_LABEL]]
    volumes = journal.volumes_of({one.id for one in (*machines, *own)})
    assert leftovers(*folders, labels=THIS_RUN, volumes=volumes) == []

    file = request.path.relative_to(ROOT).as_posix() if request.path.is_relative_to(ROOT) else request.path.name
    row = suites().get(file, NOTHING)
    most = row.most(long=any(item.get_closest_marker("long") for item in items))
    counted = sum(one.machine for one in machines)
    assert counted <= most, f"{file} has made {counted} machines: CONTRIBUTING.md allows it {most}"
    assert len(own) <= row.containers, (
        f"{file} has started {len(own)} containers: CONTRIBUTING.md allows it {row.containers}"
    )


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Check that a test with real machines leaves nothing of its own, besides its file's fixtures."""
    if request.node.get_closest_marker("docker") is None:
        yield
        return
    folder: Path = request.getfixturevalue("tmp_path")
    yield
    assert leftovers(folder) == []
