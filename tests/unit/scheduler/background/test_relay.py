"""The relay sends every entry of the outbox, whatever is away meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from alts.shared.broker import celery_app, check_broker, send_invitation
from alts.shared.errors import BrokerUnavailable, LedgerUnavailable, UnknownQueue
from alts.shared.models.ledger import TaskState
from scheduler.background.relay import BATCH, TAKEN_SECONDS, Relay
from scheduler.ledger.outbox import Invitation
from tests.support.builders import a_config, a_spec
from tests.support.log_lines import captured_lines
from tests.support.scheduler_parts import QUEUE, HandClock, a_ledger

PATIENCE = 10.0


class Broker:
    """Takes messages while it is up. `refused` counts the others."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.refused = 0
        self.up = True
        self.up_for: int | None = None
        self.unknown: set[str] = set()

    def send(self, task_id: str, queue: str) -> None:
        if queue in self.unknown:
            raise UnknownQueue(f"nobody listens on {queue}")
        if not self.up or self.up_for == 0:
            self.refused += 1
            raise BrokerUnavailable("the broker is away")
        if self.up_for is not None:
            self.up_for -= 1
        self.taken.append(task_id)


class Entries:
    """An outbox in memory that may be away, or broken."""

    def __init__(self, count: int = 0) -> None:
        self.waiting = [Invitation(entry, f"task-{entry}", QUEUE) for entry in range(count)]
        self.postponed: list[int] = []
        self.others: set[int] = set()
        """Entries that another relay has taken."""
        self.given_back: list[int] = []
        self.troubles: list[Exception] = []

    def due(self, *, limit: int) -> tuple[Invitation, ...]:
        if self.troubles:
            raise self.troubles.pop()
        return tuple(self.waiting[:limit])

    def take(self, wanted: Sequence[Invitation], *, relay: str, seconds: float) -> tuple[Invitation, ...]:
        return tuple(one for one in wanted if one.entry not in self.others)

    def give_back(self, taken: Iterable[Invitation], *, relay: str) -> None:
        self.given_back += [one.entry for one in taken]

    def mark_sent(self, invitations: Iterable[Invitation]) -> None:
        for invitation in invitations:
            self.waiting.remove(invitation)

    def postpone(self, invitation: Invitation, *, seconds: float) -> None:
        self.postponed.append(invitation.entry)
        self.waiting.remove(invitation)


def eventually(what: str, *, is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_true():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


@contextmanager
def running(entries: Entries, broker: Broker, filled: threading.Event) -> Iterator[Relay]:
    relay = Relay(entries, broker.send, filled=filled, longest_pause=0.05)
    relay.start()
    try:
        yield relay
    finally:
        relay.close()


def test_everything_due_is_sent_once_and_struck_out() -> None:
    entries, broker = Entries(3), Broker()
    relay = Relay(entries, broker.send, filled=threading.Event())

    relay.step()
    relay.step()

    assert broker.taken == ["task-0", "task-1", "task-2"]
    assert entries.waiting == []


def test_more_than_a_batch_goes_on_without_a_pause() -> None:
    entries, broker = Entries(BATCH + 1), Broker()
    relay = Relay(entries, broker.send, filled=threading.Event())

    assert relay.step() == 0.0
    assert relay.step() > 0.0
    assert len(broker.taken) == BATCH + 1


def test_what_the_broker_took_before_it_went_away_is_not_sent_again() -> None:
    entries, broker = Entries(3), Broker()
    broker.up_for = 2
    relay = Relay(entries, broker.send, filled=threading.Event())

    with pytest.raises(BrokerUnavailable):
        relay.step()
    broker.up_for = None
    relay.step()

    assert broker.taken == ["task-0", "task-1", "task-2"]


def test_what_the_broker_did_not_take_is_given_back_for_any_relay() -> None:
    entries, broker = Entries(3), Broker()
    broker.up_for = 1

    with pytest.raises(BrokerUnavailable):
        Relay(entries, broker.send, filled=threading.Event()).step()

    assert entries.given_back == [1, 2]


def test_what_another_relay_has_taken_is_left_to_it() -> None:
    entries, broker = Entries(3), Broker()
    entries.others = {1}

    Relay(entries, broker.send, filled=threading.Event()).step()

    assert broker.taken == ["task-0", "task-2"]


def test_a_relay_that_was_held_up_leaves_the_rest_to_others() -> None:
    entries, broker, clock = Entries(3), Broker(), HandClock()

    def send(task_id: str, queue: str) -> None:
        broker.send(task_id, queue)
        clock.pass_by(TAKEN_SECONDS * 0.3)

    Relay(entries, send, filled=threading.Event(), clock=clock).step()

    assert broker.taken == ["task-0", "task-1"]
    assert entries.given_back == [2]


def test_a_queue_that_nobody_offers_does_not_hold_up_the_others() -> None:
    entries, broker = Entries(1), Broker()
    entries.waiting.insert(0, Invitation(9, "task-9", "docker-sparc-0"))
    broker.unknown = {"docker-sparc-0"}

    with captured_lines("scheduler") as lines:
        Relay(entries, broker.send, filled=threading.Event()).step()

    assert broker.taken == ["task-0"]
    assert entries.postponed == [9]
    assert lines[0].endswith("task_id=task-9")


def test_new_work_wakes_the_relay(tmp_path: Path) -> None:
    filled, broker = threading.Event(), Broker()
    ledger = a_ledger(tmp_path, HandClock(), filled=filled)
    relay = Relay(ledger.outbox, broker.send, filled=filled, poll_seconds=3600)
    relay.start()
    time.sleep(0.05)

    task_id = ledger.tasks.add(a_spec(), queue=QUEUE, submitted_by="")
    eventually("sent", is_true=lambda: broker.taken == [task_id])

    eventually("queued", is_true=lambda: ledger.tasks.get(task_id).state is TaskState.QUEUED)
    relay.close()
    ledger.close()


def test_a_broker_that_comes_back_gets_everything() -> None:
    entries, broker, filled = Entries(2), Broker(), threading.Event()
    broker.up = False
    with running(entries, broker, filled):
        eventually("tried again", is_true=lambda: broker.refused > 2)
        broker.up = True
        eventually("sent", is_true=lambda: broker.taken == ["task-0", "task-1"])


def test_new_work_does_not_make_the_relay_hammer_a_broker_that_is_away() -> None:
    entries, broker, filled = Entries(1), Broker(), threading.Event()
    broker.up = False
    with running(entries, broker, filled):
        for _ in range(100):
            filled.set()
            time.sleep(0.002)
    assert broker.refused < 30


@pytest.mark.parametrize("trouble", [LedgerUnavailable("away"), RuntimeError("a bug")], ids=["ledger away", "a bug"])
def test_trouble_with_the_ledger_does_not_end_the_relay(trouble: Exception) -> None:
    entries, broker, filled = Entries(1), Broker(), threading.Event()
    entries.troubles = [trouble]
    with running(entries, broker, filled):
        eventually("sent", is_true=lambda: broker.taken == ["task-0"])


def test_a_closed_relay_sends_nothing_and_leaves_no_thread() -> None:
    entries, broker, filled = Entries(), Broker(), threading.Event()
    before = threading.active_count()
    with running(entries, broker, filled) as relay:
        pass
    relay.close()

    entries.waiting.append(Invitation(1, "task-1", QUEUE))
    filled.set()
    time.sleep(0.02)

    assert broker.taken == []
    assert threading.active_count() == before


def test_a_relay_is_started_once() -> None:
    with running(Entries(), Broker(), threading.Event()) as relay, pytest.raises(RuntimeError):
        relay.start()


def test_a_broker_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    config = a_config(
        storage_folder=str(tmp_path),
        broker="rabbitmq",
        rabbitmq_password="x",
        rabbitmq_host="127.0.0.1",
        rabbitmq_port=1,
    )
    with celery_app(config) as app:
        with pytest.raises(BrokerUnavailable):
            send_invitation(app, "task-1", QUEUE)
        with pytest.raises(BrokerUnavailable):
            check_broker(app, seconds=1)


def test_a_queue_that_the_configuration_does_not_have_is_unknown(tmp_path: Path) -> None:
    with celery_app(a_config(storage_folder=str(tmp_path))) as app, pytest.raises(UnknownQueue):
        send_invitation(app, "task-1", "docker-sparc-0")
