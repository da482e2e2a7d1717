"""The ledger's tables: created, upgraded from every earlier version, and refused if they are newer."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from setuptools import find_packages  # type: ignore[import-untyped]
from sqlalchemy import Connection, MetaData, Table, create_engine, insert, inspect, make_url, select

from alts.shared.errors import ConfigurationError
from alts.shared.models.ledger import TaskState
from alts.shared.models.report import Outcome
from scheduler.ledger.database import Database
from scheduler.ledger.schema import is_current
from scheduler.ledger.tables import metadata
from tests.support.builders import a_report
from tests.support.checkout import ROOT
from tests.support.scheduler_parts import HandClock, a_ledger, lapse

# Written by the first release's own code, one task in each state.
FIRST_RELEASE = json.loads((ROOT / "tests/ledgers/first_release.json").read_text(encoding="utf-8"))
IDS: dict[str, str] = FIRST_RELEASE["ids"]
WRITTEN_AT = max(float(row["updated_at"]) for row in FIRST_RELEASE["tasks"])


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    engine = create_engine(url)
    with engine.begin() as db:
        yield db
    engine.dispose()


def rows_of(db: Connection, name: str) -> list[dict[str, Any]]:
    table = Table(name, MetaData(), autoload_with=db)
    return [dict(row) for row in db.execute(select(table).order_by(*table.primary_key.columns)).mappings()]


def make_first_release(url: str) -> None:
    with connected(url) as db:
        for statement in FIRST_RELEASE["ddl"][make_url(url).get_backend_name()]:
            db.exec_driver_sql(statement)
        for name in ("tasks", "outbox"):
            # Booleans come from SQLite as numbers.
            rows = [
                {key: bool(value) if key == "cancel_requested" else value for key, value in row.items()}
                for row in FIRST_RELEASE[name]
            ]
            db.execute(insert(Table(name, MetaData(), autoload_with=db)), rows)
        if db.dialect.name == "postgresql":
            db.exec_driver_sql("SELECT setval('outbox_entry_seq', (SELECT max(entry) FROM outbox))")


@pytest.fixture
def first_release(database_url: str) -> str:
    """The address of a database that the first release has made and used."""
    make_first_release(database_url)
    return database_url


@pytest.mark.parametrize("made_by", ["nobody", "the first release"])
def test_migrations_make_the_tables_that_the_code_reads(database_url: str, made_by: str) -> None:
    if made_by == "the first release":
        make_first_release(database_url)

    Database(database_url).close()

    with connected(database_url) as db:
        context = MigrationContext.configure(db, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_what_the_first_release_has_written_stays_as_it_is(first_release: str) -> None:
    with connected(first_release) as db:
        before = {name: rows_of(db, name) for name in ("tasks", "outbox")}

    Database(first_release).close()

    with connected(first_release) as db:
        for name, rows in before.items():
            after = rows_of(db, name)
            assert [{key: row[key] for key in rows[0]} for row in after] == rows
            assert len(after) == len(FIRST_RELEASE[name])


def test_tasks_of_the_first_release_go_on_from_where_they_were(first_release: str) -> None:
    clock = HandClock(WRITTEN_AT)
    with closing(a_ledger(first_release, clock)) as ledger:
        assert ledger.attempts.heartbeat(IDS["running"], 1) is False
        ledger.attempts.report(IDS["running"], 1, a_report(task_id=IDS["running"]))
        assert ledger.attempts.heartbeat(IDS["cancelling"], 1) is True
        ledger.attempts.release(IDS["cancelling"], 1, reason="draining")
        ledger.outbox.mark_sent(ledger.outbox.due(limit=100))
        assert ledger.attempts.claim(IDS["retried"], worker="worker-2") is None
        clock.pass_by(10)
        attempts = {}
        for name in ("queued", "retried", "released", "accepted"):
            assignment = ledger.attempts.claim(IDS[name], worker="worker-2")
            assert assignment is not None
            attempts[name] = assignment.attempt

        assert ledger.tasks.get(IDS["running"]).outcome is Outcome.PASSED
        assert ledger.tasks.get(IDS["cancelling"]).outcome is Outcome.CANCELLED
        assert attempts == {"queued": 1, "retried": 2, "released": 2, "accepted": 1}
        assert ledger.tasks.get(IDS["released"]).attempts_used == 1


def test_leases_and_lost_messages_of_the_first_release_are_seen(first_release: str) -> None:
    clock = HandClock(WRITTEN_AT)
    with closing(a_ledger(first_release, clock)) as ledger:
        clock.pass_by(700)

        assert set(lapse(ledger, clock)) == {IDS["running"], IDS["cancelling"]}
        assert IDS["queued"] in ledger.queue.resend_lost()

        assert ledger.tasks.get(IDS["running"]).state is TaskState.ACCEPTED
        assert ledger.tasks.get(IDS["cancelling"]).outcome is Outcome.CANCELLED


@pytest.mark.parametrize("name", ["passed", "failed", "errored", "cancelled"])
def test_verdicts_of_the_first_release_can_be_read(first_release: str, name: str) -> None:
    with closing(a_ledger(first_release, HandClock())) as ledger:
        row = ledger.tasks.get(IDS[name])
        history = ledger.tasks.history(IDS[name])

    assert row.outcome is Outcome(name)
    assert row.report is not None
    assert row.report.outcome is row.outcome
    # Events from before the history existed are not invented.
    assert history == ()


def test_schedulers_that_start_at_once_make_the_tables_once(database_url: str) -> None:
    def start(_number: int) -> None:
        Database(database_url).close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(start, range(8)))

    with connected(database_url) as db:
        assert len(rows_of(db, "alembic_version")) == 1


@pytest.mark.services
def test_processes_that_start_at_once_bring_the_tables_up_once(first_release: str) -> None:
    program = "import sys; from scheduler.ledger.database import Database; Database(sys.argv[1]).close()"

    starting = [
        subprocess.Popen([sys.executable, "-c", program, first_release], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]

    assert [(one.communicate(timeout=60)[1], one.returncode) for one in starting] == [("", 0)] * 3
    with closing(a_ledger(first_release, HandClock())) as ledger:
        assert ledger.tasks.get(IDS["passed"]).outcome is Outcome.PASSED


def test_a_step_that_fails_leaves_the_database_as_it_was(first_release: str) -> None:
    with connected(first_release) as db:
        db.exec_driver_sql("CREATE TABLE submissions (something INTEGER)")
        tables, columns = inspect(db).get_table_names(), inspect(db).get_columns("tasks")

    with pytest.raises(Exception, match="submissions"):
        Database(first_release)

    with connected(first_release) as db:
        assert sorted(inspect(db).get_table_names()) == sorted(tables)
        assert [one["name"] for one in inspect(db).get_columns("tasks")] == [one["name"] for one in columns]


def test_a_newer_versions_database_is_refused_in_plain_words(database_url: str) -> None:
    Database(database_url).close()
    with connected(database_url) as db:
        db.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(ConfigurationError, match=r"database_url: .* newer version .*9999") as refusal:
        Database(database_url)

    assert "start that version again" in refusal.value.resolution


def test_tables_whose_version_is_not_written_down_are_refused(database_url: str) -> None:
    Database(database_url).close()
    with connected(database_url) as db:
        db.exec_driver_sql("DROP TABLE alembic_version")

    with pytest.raises(ConfigurationError, match="does not record its schema version"):
        Database(database_url)


@pytest.mark.slow
def test_an_upgraded_database_is_current_and_opening_it_again_does_not_load_alembic(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.sqlite"
    Database(url).close()
    with connected(url) as db:
        assert is_current(db)
    program = f"import sys\nfrom scheduler.ledger.database import Database\nDatabase({url!r}).close()\n"

    subprocess.run(
        [sys.executable, "-c", f"{program}sys.exit('alembic' in sys.modules)"], cwd=ROOT, check=True, timeout=60
    )


def test_an_installed_service_has_its_migrations() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    installed = find_packages(str(ROOT), include=project["tool"]["setuptools"]["packages"]["find"]["include"])

    assert {"scheduler.ledger.migrations", "scheduler.ledger.migrations.versions"} <= set(installed)
