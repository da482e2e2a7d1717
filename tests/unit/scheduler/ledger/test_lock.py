"""Which services may share a ledger."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine

from alts.embedded.stack import EmbeddedStack
from alts.shared.errors import AlreadyRunning, ConfigurationError, LedgerUnavailable
from scheduler.ledger.database import Database
from tests.support.builders import a_config
from tests.support.checkout import ROOT
from tests.support.ports import free_ports
from tests.support.stack import until

if TYPE_CHECKING:
    from tests.support.postgresql import PrivatePostgreSQL

HOLD = (
    "import sys; from scheduler.ledger.database import Database\n"
    "database = Database(sys.argv[1], alone=sys.argv[2] == 'alone'); print('up', flush=True); sys.stdin.read()\n"
)


@contextmanager
def another_process(url: str, how: str) -> Iterator[subprocess.Popen[str]]:
    """A process that uses the ledger between `__enter__` and `__exit__`."""
    argv = [sys.executable, "-c", HOLD, url, how]
    with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "up\n"
            yield process
        finally:
            process.kill()


@pytest.mark.slow
@pytest.mark.parametrize(("there", "here"), [("alone", True), ("alone", False), ("beside", True)])
def test_an_embedded_service_has_the_ledger_for_itself(database_url: str, there: str, here: bool) -> None:
    with another_process(database_url, there), pytest.raises(AlreadyRunning, match=r"ledger .*\(stop it first\)"):
        Database(database_url, alone=here)


@pytest.mark.slow
def test_schedulers_share_a_ledger(database_url: str) -> None:
    with another_process(database_url, "beside"):
        Database(database_url).close()


@pytest.mark.slow
def test_a_service_that_was_killed_leaves_the_ledger_to_the_next(database_url: str) -> None:
    with another_process(database_url, "alone") as process:
        process.kill()
        process.wait()

        def opened() -> bool:
            try:
                Database(database_url, alone=True).close()
            except AlreadyRunning:
                return False
            return True

        # PostgreSQL notices a moment later.
        assert until(opened, seconds=20)


@pytest.mark.parametrize("way", ["file", "folder", "relative", "dangling"])
def test_whatever_name_leads_there_it_is_one_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    real, other = tmp_path / "real", tmp_path / "other"
    real.mkdir()
    other.mkdir()
    ledger = real / "ledger.sqlite"
    if way == "dangling":
        # The first start comes through the link, before the file exists.
        (other / "link.sqlite").symlink_to(ledger)
        first, second = other / "link.sqlite", ledger
    elif way == "file":
        first, second = ledger, other / "link.sqlite"
        second.symlink_to(ledger)
    elif way == "folder":
        (other / "link").symlink_to(real)
        first, second = ledger, other / "link" / "ledger.sqlite"
    else:
        monkeypatch.chdir(other)
        first, second = ledger, Path("../real/ledger.sqlite")

    with closing(Database(f"sqlite:///{first}", alone=True)), pytest.raises(AlreadyRunning):
        Database(f"sqlite:///{second}", alone=True)


def test_a_ledger_with_two_names_of_its_own_is_refused(tmp_path: Path) -> None:
    Database(f"sqlite:///{tmp_path}/ledger.sqlite").close()
    os.link(tmp_path / "ledger.sqlite", tmp_path / "again.sqlite")

    with pytest.raises(ConfigurationError, match="hard link"):
        Database(f"sqlite:///{tmp_path}/again.sqlite")


@pytest.mark.slow
@pytest.mark.parametrize("emptied", ["nothing", "storage", "work"])
def test_a_second_embedded_service_is_refused_whatever_its_folders(tmp_path: Path, emptied: str) -> None:
    url = f"sqlite:///{tmp_path}/ledger/ledger.sqlite"
    for name in ("storage", "work"):
        (tmp_path / name).mkdir()
    with another_process(url, "alone"):
        shutil.rmtree(tmp_path / emptied, ignore_errors=True)
        [port] = free_ports(1)
        config = a_config(
            broker="memory",
            database_url=url,
            storage_folder=str(tmp_path / "other-storage"),
            work_folder=str(tmp_path / "other-work"),
        )

        with pytest.raises(AlreadyRunning, match=r"another service uses the ledger .*ledger\.sqlite"):
            EmbeddedStack(config, host="127.0.0.1", port=port).__enter__()


def test_a_start_that_fails_unlocks_the_ledger(tmp_path: Path) -> None:
    config = a_config(broker="memory", database_url=f"sqlite:///{tmp_path}/ledger.sqlite")
    stack = EmbeddedStack(config, host="192.0.2.1", port=9)

    for _ in range(2):
        with pytest.raises(AlreadyRunning, match="cannot listen"):
            stack.__enter__()

    Database(f"sqlite:///{tmp_path}/ledger.sqlite", alone=True).close()


@pytest.mark.services
def test_a_lock_that_postgresql_has_lost_is_taken_again_or_missed(postgresql: PrivatePostgreSQL) -> None:
    key = 0x616C7474
    holders = f"FROM pg_locks WHERE locktype = 'advisory' AND objid = {key}"
    hang_up = f"SELECT pid, pg_terminate_backend(pid) {holders}"
    with postgresql.database() as url, closing(Database(url, alone=True)) as database:
        admin = create_engine(url, isolation_level="AUTOCOMMIT")
        with admin.connect() as db:
            [(lost, _)] = db.exec_driver_sql(hang_up).all()
            # The server process that was told to end holds the lock for a moment longer.
            until(lambda: db.exec_driver_sql(f"SELECT pid {holders} AND pid <> {lost}").all() or None, seconds=30)
            database.check()
            with pytest.raises(AlreadyRunning):
                Database(url, alone=True)

            assert len(db.exec_driver_sql(hang_up).all()) == 1
            db.exec_driver_sql(f"SELECT pg_advisory_lock({key})")
            until(lambda: "another service has taken the ledger" in trouble_of(database), seconds=30)
        admin.dispose()
        until(lambda: trouble_of(database) == "", seconds=30)


def trouble_of(database: Database) -> str:
    try:
        database.check()
    except LedgerUnavailable as error:
        return str(error)
    return ""
