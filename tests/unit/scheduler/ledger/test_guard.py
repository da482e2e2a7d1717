"""A ledger in an unexpected state is refused in plain words, and the operator's consent is carried out."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine, inspect

from alts.shared.config import Config
from alts.shared.errors import LedgerDamaged, LedgerRefused
from alts.shared.models.consent import ANY, Consent
from scheduler.ledger.database import Database, mark_path
from scheduler.ledger.guard import Guard
from scheduler.ledger.ledger import SqlLedger
from scheduler.ledger.mark import Mark, MarkFile
from scheduler.ledger.retry_policy import LedgerRules
from tests.support.builders import a_config, a_spec
from tests.support.scheduler_parts import QUEUE
from tests.unit.scheduler.ledger.test_schema import IDS, make_first_release

if TYPE_CHECKING:
    from tests.support.postgresql import PrivatePostgreSQL

NOTHING = Consent()


def opened(url: str, folder: Path, consent: Consent = NOTHING, *, boot: str = "monday") -> SqlLedger:
    file = MarkFile(folder / "state" / "ledger.mark", boot=lambda: boot)
    return SqlLedger(Database(url, guard=Guard(file, consent)), LedgerRules())


def add(ledger: SqlLedger, count: int = 1) -> list[str]:
    return [ledger.tasks.add(a_spec(), queue=QUEUE, submitted_by="") for _ in range(count)]


def mark_of(folder: Path) -> Mark:
    file = MarkFile(folder / "state" / "ledger.mark")
    mark = file.read()
    file.close(in_order=False)
    assert mark is not None
    return mark


def code_in(error: LedgerRefused, variable: str) -> str:
    return error.resolution.partition(f"{variable}=")[2].split()[0]


def killed(folder: Path, count: int = 3, **how: Any) -> Path:
    """Make SQLite's ledger of a service that was killed after `count` tasks."""
    with crashed(f"sqlite:///{folder}/ledger.sqlite", folder, **how) as ledger:
        add(ledger, count)
    return folder / "ledger.sqlite"


@contextmanager
def crashed(url: str, folder: Path, **how: Any) -> Iterator[SqlLedger]:
    """Open a ledger. At the end save its files while all is open, marks included, as kill -9 leaves them."""
    names = ("ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm", "state")
    ledger = opened(url, folder, **how)
    yield ledger
    saved = folder / "saved"
    saved.mkdir()
    for name in names:
        path = folder / name
        (shutil.copytree if path.is_dir() else shutil.copy)(path, saved / name)
    ledger.close()
    for name in names:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        (saved / name).rename(path)
    saved.rmdir()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.sqlite"


def test_a_ledger_that_was_closed_or_killed_goes_on(url: str, tmp_path: Path) -> None:
    with closing(opened(url, tmp_path)) as ledger:
        ids = add(ledger)
    with crashed(url, tmp_path) as ledger:
        ids += add(ledger)
    with closing(opened(url, tmp_path)) as ledger:
        ids += add(ledger)

        assert [ledger.tasks.get(task_id).task_id for task_id in ids] == ids
        assert mark_of(tmp_path).highest == 3


def test_the_ledger_of_the_first_release_gets_its_mark_at_its_first_start(database_url: str, tmp_path: Path) -> None:
    make_first_release(database_url)

    with closing(opened(database_url, tmp_path)) as ledger:
        assert ledger.tasks.get(IDS["passed"]).task_id == IDS["passed"]
        add(ledger)
    first = mark_of(tmp_path)
    with closing(opened(database_url, tmp_path)) as ledger:
        add(ledger)

    assert len(first.ledger) == 36
    assert mark_of(tmp_path).ledger == first.ledger
    assert mark_of(tmp_path).highest == first.highest + 1


def remove(ledger: Path) -> None:
    ledger.unlink()


def empty(ledger: Path) -> None:
    ledger.write_bytes(b"")


def remove_log(ledger: Path) -> None:
    Path(f"{ledger}-wal").unlink()


def empty_log(ledger: Path) -> None:
    Path(f"{ledger}-wal").write_bytes(b"")


def overwrite_log(ledger: Path) -> None:
    log = Path(f"{ledger}-wal")
    log.write_bytes(os.urandom(log.stat().st_size))


def damage_tail_of_log(ledger: Path) -> None:
    log = Path(f"{ledger}-wal")
    content = bytearray(log.read_bytes())
    content[-100:] = os.urandom(100)
    log.write_bytes(content)


def bring_in_log(ledger: Path) -> None:
    """Move the log into the file, as SQLite does from time to time.

    While the log has every page, the file's content does not matter.
    """
    with closing(sqlite3.connect(ledger)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def overwrite(ledger: Path) -> None:
    bring_in_log(ledger)
    ledger.write_bytes(os.urandom(8192))


def damage_pages(ledger: Path) -> None:
    """Damage all but the first four pages."""
    bring_in_log(ledger)
    content = bytearray(ledger.read_bytes())
    for start in range(4 * 4096, len(content), 4096):
        content[start : start + 16] = os.urandom(16)
    ledger.write_bytes(content)


HARM = [
    (remove, "is missing"),
    (empty, r"is empty \(0 bytes\)"),
    (remove_log, "write-ahead log .*-wal is missing or empty"),
    (empty_log, "write-ahead log .*-wal is missing or empty"),
    (overwrite_log, "write-ahead log .*-wal is damaged"),
    (damage_tail_of_log, r"ends at entry \d+ of its history, the last \d+ are missing"),
    (overwrite, "is damaged: file is not a database"),
    (damage_pages, "is damaged: "),
]


@pytest.mark.parametrize(("harm", "words"), HARM, ids=[harm.__name__ for harm, _ in HARM])
def test_what_is_lost_is_said_and_nothing_is_touched(
    url: str, tmp_path: Path, harm: Callable[[Path], None], words: str
) -> None:
    ledger = killed(tmp_path)
    harm(ledger)
    before = {path: path.read_bytes() for path in (ledger, Path(f"{ledger}-wal")) if path.exists()}

    for _ in range(2):
        with pytest.raises(LedgerRefused, match=words) as refusal:
            opened(url, tmp_path)

    mark = mark_of(tmp_path)
    assert f"Entry 3 was written to ledger {mark.ledger[:8]} at " in refusal.value.message
    assert "restore it" in refusal.value.resolution
    assert "--new-ledger" in refusal.value.resolution
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("harm", [harm for harm, _ in HARM], ids=[harm.__name__ for harm, _ in HARM])
def test_a_new_ledger_is_begun_where_the_operator_says_so_and_the_old_one_kept(
    url: str, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    ledger = killed(tmp_path)
    harm(ledger)
    there = {path.read_bytes() for path in (ledger, Path(f"{ledger}-wal")) if path.exists()}
    old = mark_of(tmp_path)

    with closing(opened(url, tmp_path, Consent(new=ANY))) as new:
        add(new)

    assert mark_of(tmp_path).ledger != old.ledger
    assert mark_of(tmp_path).highest == 1
    assert {path.read_bytes() for path in tmp_path.glob("*.lost-*")} >= there
    opened(url, tmp_path).close()


def test_a_copy_that_lacks_nothing_goes_on(url: str, tmp_path: Path) -> None:
    ledger = killed(tmp_path)
    with closing(sqlite3.connect(ledger)) as db, closing(sqlite3.connect(tmp_path / "copy")) as copy:
        db.backup(copy)
    for path in (ledger, Path(f"{ledger}-wal"), Path(f"{ledger}-shm")):
        path.unlink(missing_ok=True)
    (tmp_path / "copy").rename(ledger)

    opened(url, tmp_path).close()


def test_another_program_may_have_brought_the_log_in(url: str, tmp_path: Path) -> None:
    """SQLite removes the log when the last connection is closed, also one of another program."""
    ledger = killed(tmp_path)
    with closing(sqlite3.connect(ledger)) as db:
        db.execute("SELECT * FROM tasks").fetchall()
    assert not Path(f"{ledger}-wal").exists()

    opened(url, tmp_path).close()


@pytest.mark.parametrize("harm", [None, remove_log, empty_log, overwrite_log])
def test_after_a_power_failure_the_log_must_be_there(
    url: str, tmp_path: Path, harm: Callable[[Path], None] | None
) -> None:
    """A power failure may lose the mark's last second: here, everything after the start."""
    opened(url, tmp_path).close()
    state = tmp_path / "state"
    with crashed(url, tmp_path) as ledger:
        shutil.copytree(state, tmp_path / "state-then")
        add(ledger, 3)
    shutil.rmtree(state)
    (tmp_path / "state-then").rename(state)
    if harm is None:
        with closing(opened(url, tmp_path, boot="tuesday")):
            assert mark_of(tmp_path).highest == 3
        return
    harm(tmp_path / "ledger.sqlite")

    with pytest.raises(LedgerRefused, match="was in use when the machine went down; its write-ahead log"):
        opened(url, tmp_path, boot="tuesday")
    opened(url, tmp_path, Consent(accept=ANY), boot="tuesday").close()
    opened(url, tmp_path, boot="wednesday").close()


def test_a_power_failure_before_the_first_commit_of_a_later_start_is_no_loss(url: str, tmp_path: Path) -> None:
    opened(url, tmp_path).close()
    with crashed(url, tmp_path):
        pass

    opened(url, tmp_path, boot="tuesday").close()


def test_an_old_copy_is_refused_until_the_operator_accepts_it(url: str, tmp_path: Path) -> None:
    with closing(opened(url, tmp_path)) as ledger:
        [kept] = add(ledger)
    shutil.copy(tmp_path / "ledger.sqlite", tmp_path / "copy")
    with closing(opened(url, tmp_path)) as ledger:
        add(ledger, 2)
    shutil.copy(tmp_path / "copy", tmp_path / "ledger.sqlite")

    with pytest.raises(LedgerRefused, match="ends at entry 1 of its history, the last 2 are missing") as refusal:
        opened(url, tmp_path)
    code = code_in(refusal.value, "ALTS_ACCEPT_LEDGER")
    with closing(opened(url, tmp_path, Consent(accept=code))) as ledger:
        assert ledger.tasks.get(kept).task_id == kept
        assert mark_of(tmp_path).highest == 1


def test_a_consent_that_is_left_set_is_good_for_one_loss(url: str, tmp_path: Path) -> None:
    ledger = killed(tmp_path)
    remove(ledger)
    with pytest.raises(LedgerRefused) as refusal:
        opened(url, tmp_path)
    left_set = Consent(new=code_in(refusal.value, "ALTS_NEW_LEDGER"))
    with closing(opened(url, tmp_path, left_set)) as new:
        [kept] = add(new)
    with closing(opened(url, tmp_path, left_set)) as again:
        assert again.tasks.get(kept).task_id == kept

    remove(ledger)

    with pytest.raises(LedgerRefused, match="is missing"):
        opened(url, tmp_path, left_set)


def test_a_consent_that_nothing_needs_does_nothing(url: str, tmp_path: Path) -> None:
    with closing(opened(url, tmp_path)) as ledger:
        [kept] = add(ledger)

    with closing(opened(url, tmp_path, Consent(new=ANY, accept=ANY))) as ledger:
        assert ledger.tasks.get(kept).task_id == kept


def test_pages_that_went_bad_after_an_end_in_order_are_said_when_they_are_met(url: str, tmp_path: Path) -> None:
    with closing(opened(url, tmp_path)) as ledger:
        ids = add(ledger, 30)
        leaf = page_of(tmp_path / "ledger.sqlite", "tasks")
    damage(tmp_path / "ledger.sqlite", leaf)

    with closing(opened(url, tmp_path)) as ledger:
        ledger.check()
        with pytest.raises(LedgerDamaged, match="the ledger is damaged: database disk image is malformed"):
            history_of_all(ledger, ids)
        with pytest.raises(LedgerDamaged):
            ledger.check()

    # The damage was recorded: the next start reads every page.
    with pytest.raises(LedgerRefused, match="is damaged"):
        opened(url, tmp_path)


def history_of_all(ledger: SqlLedger, ids: list[str]) -> None:
    for task_id in ids:
        ledger.tasks.history(task_id)


def page_of(ledger: Path, table: str) -> int:
    with closing(sqlite3.connect(ledger)) as db:
        [[page]] = db.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,))
    return int(page)


def damage(ledger: Path, page: int) -> None:
    content = bytearray(ledger.read_bytes())
    content[(page - 1) * 4096 : page * 4096] = os.urandom(4096)
    ledger.write_bytes(content)


@pytest.mark.parametrize("opener", ["the same", "another"])
def test_processes_that_share_a_state_folder_know_what_each_has_written(url: str, tmp_path: Path, opener: str) -> None:
    with closing(opened(url, tmp_path)) as one, closing(opened(url, tmp_path)) as other:
        add(one, 2)
        add(other, 3)
        add(one if opener == "the same" else other)

    assert mark_of(tmp_path).highest == 6
    assert mark_of(tmp_path).boot is None


@pytest.mark.services
@pytest.mark.parametrize("what", ["old", "another", "empty"])
def test_a_postgresql_that_is_not_what_it_was_is_refused(
    postgresql: PrivatePostgreSQL, tmp_path: Path, what: str
) -> None:
    with postgresql.database() as url, postgresql.database() as other:
        with closing(opened(url, tmp_path)) as ledger:
            add(ledger, 3)
        engine = create_engine(url)
        with engine.begin() as db:
            if what == "old":
                db.exec_driver_sql("DELETE FROM history WHERE entry > 1")
        where = other if what == "empty" else url
        if what == "another":
            Database(other).close()
            where = other

        words = {"old": "ends at entry 1 .* last 2 are missing", "another": "is another ledger", "empty": "no tables"}
        with pytest.raises(LedgerRefused, match=words[what]) as refusal:
            opened(where, tmp_path)

        assert ("--accept-ledger" in refusal.value.resolution) == (what != "empty")
        assert ("--new-ledger" in refusal.value.resolution) == (what == "empty")
        if what == "empty":
            untouched = create_engine(other)
            assert inspect(untouched).get_table_names() == []
            untouched.dispose()
        opened(where, tmp_path, Consent(new=ANY, accept=ANY)).close()
        opened(where, tmp_path).close()
        engine.dispose()


def test_the_mark_lies_where_the_configuration_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "real.sqlite")

    def where(config: Config) -> Path:
        return mark_path(config.database_url, config.state_folder)

    assert where(a_config(state_folder="state")) == tmp_path / "state" / "ledger.mark"
    assert where(a_config(database_url=f"sqlite:///{tmp_path}/link")) == tmp_path / "real.sqlite.mark"
    postgresql = "postgresql+psycopg://alts@db/alts"
    assert where(a_config(database_url=postgresql)) == tmp_path / ".alts" / "scheduler" / "ledger.mark"
