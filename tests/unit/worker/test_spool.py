"""Artifacts reach the store in order, despite failures of the store and of the worker."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from structlog.contextvars import bound_contextvars

from alts.shared.errors import StorageUnavailable
from alts.shared.storage.base import ArtifactStore
from alts.worker.spool import Spool
from tests.support.fakes import FakeStore
from tests.support.log_lines import captured_lines
from tests.support.stack import until

AWAY = 10**9
LIMIT = 10_000

NewSpool = Callable[..., Spool]


@pytest.fixture
def new_spool(tmp_path: Path) -> Iterator[NewSpool]:
    with ExitStack() as stack:

        def make(store: ArtifactStore, *, folder: str = "spool", limit: int = LIMIT, held_limit: int = LIMIT) -> Spool:
            spool = Spool(
                tmp_path / folder,
                store,
                limit=limit,
                held_limit=held_limit,
                first_pause=0.01,
                longest_pause=0.05,
            )
            stack.callback(spool.close, seconds=0.0)
            return spool

        yield make


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_put_is_stored_and_gone_from_disk(new_spool: NewSpool, tmp_path: Path) -> None:
    store = FakeStore()
    spool = new_spool(store)

    spool.put("artifacts/t/1/install.log", b"one\ntwo\n")

    assert spool.settle("t-1", seconds=10)
    assert store.content == {"artifacts/t/1/install.log": b"one\ntwo\n"}
    assert files(tmp_path / "spool") == []
    assert spool.location("k") == "memory://k"


def test_lines_of_an_upload_name_the_attempt_that_put_the_artifact(new_spool: NewSpool) -> None:
    spool = new_spool(TalkingStore())

    with captured_lines() as lines:
        for task_id in ("t", "u"):
            with bound_contextvars(task_id=task_id, attempt=1):
                spool.put(f"artifacts/{task_id}/1/install.log", b"")
        assert spool.settle("t-1", seconds=10)
        assert spool.settle("u-1", seconds=10)

    assert sorted(line.partition(": ")[2] for line in lines) == [
        "put attempt=1 key=artifacts/t/1/install.log task_id=t",
        "put attempt=1 key=artifacts/u/1/install.log task_id=u",
    ]


class TalkingStore(FakeStore):
    """Logs each artifact."""

    def put(self, key: str, content: bytes, *, content_type: str = "") -> None:
        logging.getLogger("alts.test").info("put", extra={"key": key})
        super().put(key, content, content_type=content_type)


def test_a_store_that_is_away_delays_nobody_and_gets_all_in_order_when_it_is_back(new_spool: NewSpool) -> None:
    store = FakeStore(refusals=AWAY)
    spool = new_spool(store)
    keys = [f"artifacts/t/1/{number}.log" for number in range(20)]

    for key in keys:
        spool.put(key, key.encode())
    until(lambda: store.refusals < AWAY, seconds=10, interval=0.01)
    assert not spool.settle("t-1", seconds=60), "nobody waits while the store is known to be away"
    assert store.content == {}
    store.refusals = 0

    until(lambda: len(store.content) == 20, seconds=10, interval=0.01)
    assert list(store.content) == keys


def test_every_attempt_keeps_its_order_beside_the_others(new_spool: NewSpool) -> None:
    store = FakeStore(refusals=30)
    spool = new_spool(store)
    for number in range(10):
        for task in ("a", "b", "c"):
            spool.put(f"artifacts/{task}/1/{number}.log", b"")

    until(lambda: len(store.content) == 30, seconds=10, interval=0.01)

    for task in ("a", "b", "c"):
        mine = [key for key in store.content if key.startswith(f"artifacts/{task}/")]
        assert mine == [f"artifacts/{task}/1/{number}.log" for number in range(10)]


def test_the_next_process_brings_away_what_the_last_one_could_not(new_spool: NewSpool, tmp_path: Path) -> None:
    before = new_spool(FakeStore(refusals=AWAY))
    before.put("artifacts/t/1/install.log", b"log")
    before.put("artifacts/t/1/report.json", b"{}")
    before.put("results/celery-task-meta-t", b"{}", group="t-1")
    before.close(seconds=0.0)
    (tmp_path / "spool" / ".t-1.00000000000000000001.artifact").write_bytes(b"half writ")

    store = FakeStore()
    after = new_spool(store)

    assert after.settle("t-1", seconds=10)
    assert list(store.content) == [
        "artifacts/t/1/install.log",
        "artifacts/t/1/report.json",
        "results/celery-task-meta-t",
    ]
    assert files(tmp_path / "spool") == []


def test_what_a_dead_worker_left_is_adopted(new_spool: NewSpool, tmp_path: Path) -> None:
    dead = new_spool(FakeStore(refusals=AWAY), folder="dead")
    dead.put("artifacts/t/1/install.log", b"log")
    dead.close(seconds=0.0)
    store = FakeStore()
    living = new_spool(store)

    assert living.adopt(tmp_path / "dead") == 1
    assert living.adopt(tmp_path / "never-was") == 0

    assert living.settle("t-1", seconds=10)
    assert store.content == {"artifacts/t/1/install.log": b"log"}
    assert files(tmp_path / "dead") == []


def test_what_cannot_be_read_does_not_stand_in_the_way(new_spool: NewSpool, tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "t-1.00000000000000000001.artifact").write_bytes(b"")
    store = FakeStore()
    spool = new_spool(store)

    spool.put("artifacts/t/1/install.log", b"log")

    assert spool.settle("t-1", seconds=10)
    assert list(store.content) == ["artifacts/t/1/install.log"]


def test_a_full_spool_says_so_before_it_is_and_refuses_when_it_is(new_spool: NewSpool, tmp_path: Path) -> None:
    store = FakeStore(refusals=AWAY)
    spool = new_spool(store, limit=3 << 20)
    assert spool.trouble == ""

    spool.put("artifacts/t/1/install.log", bytes(5 << 19))

    assert spool.trouble == "the artifact store does not answer, and 2 MB wait for it"
    with pytest.raises(StorageUnavailable, match="the spool is full"):
        spool.put("artifacts/t/1/remove.log", bytes(1 << 20))
    assert len(files(tmp_path / "spool")) == 1
    store.refusals = 0
    until(lambda: not spool.trouble, seconds=10, interval=0.01)
    spool.put("artifacts/t/1/remove.log", bytes(1 << 20))


def test_what_the_disk_does_not_take_goes_to_the_store_all_the_same(new_spool: NewSpool, tmp_path: Path) -> None:
    store = FakeStore()
    spool = new_spool(store)
    (tmp_path / "spool").rmdir()

    for number in range(5):
        spool.put(f"artifacts/t/1/{number}.log", bytes(LIMIT // 2))
        assert spool.settle("t-1", seconds=10)

    assert list(store.content) == [f"artifacts/t/1/{number}.log" for number in range(5)]


def test_what_disk_and_store_do_not_take_is_held_until_the_store_is_back(new_spool: NewSpool, tmp_path: Path) -> None:
    store = FakeStore(refusals=AWAY)
    spool = new_spool(store)
    (tmp_path / "spool").rmdir()
    spool.put("artifacts/t/1/install.log", b"in memory")
    spool.put("artifacts/t/1/remove.log", b"in memory too")
    until(lambda: bool(spool.trouble), seconds=10, interval=0.01)
    assert spool.trouble == "the artifact store does not answer, and the spool's disk cannot be written"
    (tmp_path / "spool").mkdir()
    spool.put("artifacts/t/1/report.json", b"on disk again")

    store.refusals = 0

    until(lambda: len(store.content) == 3, seconds=10, interval=0.01)
    assert list(store.content.values()) == [b"in memory", b"in memory too", b"on disk again"]
    until(lambda: not files(tmp_path / "spool"), seconds=10, interval=0.01)
    assert spool.trouble == ""


def test_what_was_held_is_on_disk_as_soon_as_the_disk_takes_it(new_spool: NewSpool, tmp_path: Path) -> None:
    before = new_spool(FakeStore(refusals=AWAY))
    (tmp_path / "spool").rmdir()
    before.put("artifacts/t/1/install.log", b"log")
    before.put("artifacts/t/1/report.json", b"{}")
    (tmp_path / "spool").mkdir()
    until(lambda: len(files(tmp_path / "spool")) == 2, seconds=10, interval=0.01)
    until(lambda: not before.trouble, seconds=10, interval=0.01)
    before.close(seconds=0.0)
    store = FakeStore()

    after = new_spool(store)

    assert after.settle("t-1", seconds=10)
    assert list(store.content) == ["artifacts/t/1/install.log", "artifacts/t/1/report.json"]


def test_closing_gives_the_disk_what_was_held(new_spool: NewSpool, tmp_path: Path) -> None:
    store = SlowStore()
    spool = new_spool(store)
    (tmp_path / "spool").rmdir()
    spool.put("artifacts/t/1/install.log", b"log")
    (tmp_path / "spool").mkdir()

    spool.close(seconds=0.0)

    assert len(files(tmp_path / "spool")) == 1
    store.released.set()


def test_no_more_is_held_in_memory_than_there_is_room_for(new_spool: NewSpool, tmp_path: Path) -> None:
    spool = new_spool(FakeStore(refusals=AWAY), limit=100 * LIMIT, held_limit=LIMIT)
    (tmp_path / "spool").rmdir()
    spool.put("artifacts/t/1/install.log", bytes(LIMIT // 2))

    for _ in range(5):
        with pytest.raises(StorageUnavailable, match="neither disk nor artifact store"):
            spool.put("artifacts/t/1/remove.log", bytes(LIMIT // 2))

    (tmp_path / "spool").mkdir()
    spool.put("artifacts/t/1/purge.log", bytes(LIMIT // 2))


def test_a_fault_of_any_kind_is_one_of_the_moment(new_spool: NewSpool, tmp_path: Path) -> None:
    store = FaultyStore(faults=20)
    spool = new_spool(store)
    for number in range(8):
        spool.put(f"artifacts/t/{number}/install.log", b"log")

    until(lambda: len(store.content) == 8, seconds=30)
    until(lambda: files(tmp_path / "spool") == [], seconds=30)


class FaultyStore(FakeStore):
    """Raises an unexpected error, a number of times."""

    def __init__(self, faults: int) -> None:
        super().__init__()
        self._faults = faults

    def put(self, key: str, content: bytes, *, content_type: str = "") -> None:
        if self._faults > 0:
            self._faults -= 1
            raise MemoryError
        super().put(key, content, content_type=content_type)


def test_closing_waits_for_what_is_under_way(new_spool: NewSpool) -> None:
    store = SlowStore()
    spool = new_spool(store)
    spool.put("artifacts/t/1/install.log", b"log")
    threading.Timer(0.2, store.released.set).start()

    spool.close(seconds=10)

    assert list(store.content) == ["artifacts/t/1/install.log"]


class SlowStore(FakeStore):
    """Takes nothing before it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()

    def put(self, key: str, content: bytes, *, content_type: str = "") -> None:
        self.released.wait(10)
        super().put(key, content, content_type=content_type)
