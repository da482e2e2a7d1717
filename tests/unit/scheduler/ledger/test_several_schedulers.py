"""Several schedulers on one database, in threads and in processes, send, expire and claim nothing twice."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from alts.shared.models.ledger import TaskState
from alts.shared.models.report import Outcome
from scheduler.background.relay import TAKEN_SECONDS, Relay
from scheduler.ledger.event import Event
from scheduler.ledger.ledger import SqlLedger
from tests.support.builders import a_report, a_spec
from tests.support.checkout import ROOT
from tests.support.scheduler_parts import QUEUE, HandClock, a_ledger, lapse

SCHEDULERS = 3


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def ledgers(database_url: str, clock: HandClock) -> Iterator[list[SqlLedger]]:
    """Ledgers with their own connections, as in separate processes."""
    with ExitStack() as undo:
        yield [undo.enter_context(closing(a_ledger(database_url, clock))) for _ in range(SCHEDULERS)]


def added(ledger: SqlLedger, count: int) -> list[str]:
    return [ledger.tasks.add(a_spec(), queue=QUEUE, submitted_by="") for _ in range(count)]


def events(ledger: SqlLedger, task_id: str) -> Counter[Event]:
    return Counter(entry.event for entry in ledger.tasks.history(task_id))


@pytest.mark.slow
def test_relays_that_send_at_once_send_everything_once(ledgers: list[SqlLedger]) -> None:
    ids = added(ledgers[0], 250)
    sent: list[str] = []

    def relay(ledger: SqlLedger) -> None:
        one = Relay(ledger.outbox, lambda task_id, _queue: sent.append(task_id), filled=threading.Event())
        while ledger.outbox.due(limit=1):
            one.step()

    with ThreadPoolExecutor(SCHEDULERS) as pool:
        list(pool.map(relay, ledgers))

    assert Counter(sent) == Counter(ids)
    assert all(ledgers[0].tasks.get(task_id).state is TaskState.QUEUED for task_id in ids)
    assert all(events(ledgers[0], task_id)[Event.SENT] == 1 for task_id in ids)


def test_what_a_relay_had_taken_when_it_died_is_sent_by_another(ledgers: list[SqlLedger], clock: HandClock) -> None:
    dead, alive = ledgers[0], ledgers[1]
    (task_id,) = added(dead, 1)
    assert dead.outbox.take(dead.outbox.due(limit=10), relay="dead", seconds=TAKEN_SECONDS)

    clock.pass_by(TAKEN_SECONDS - 1)
    assert alive.outbox.due(limit=10) == ()

    clock.pass_by(1)
    taken = alive.outbox.take(alive.outbox.due(limit=10), relay="alive", seconds=TAKEN_SECONDS)
    alive.outbox.mark_sent(taken)
    assert [one.task_id for one in taken] == [task_id]
    assert alive.tasks.get(task_id).state is TaskState.QUEUED


def test_a_relay_that_comes_late_gives_back_only_what_is_still_its_own(
    ledgers: list[SqlLedger], clock: HandClock
) -> None:
    late, other = ledgers[0], ledgers[1]
    added(late, 2)
    taken = late.outbox.take(late.outbox.due(limit=10), relay="late", seconds=TAKEN_SECONDS)
    clock.pass_by(TAKEN_SECONDS)
    assert len(other.outbox.take(taken[:1], relay="other", seconds=TAKEN_SECONDS)) == 1

    late.outbox.give_back(taken, relay="late")

    assert other.outbox.due(limit=10) == taken[1:]


def test_reconcilers_that_look_at_once_expire_and_resend_once(ledgers: list[SqlLedger], clock: HandClock) -> None:
    running, queued = added(ledgers[0], 40), added(ledgers[0], 40)
    ledgers[0].outbox.mark_sent(ledgers[0].outbox.due(limit=100))
    for task_id in running:
        ledgers[0].attempts.claim(task_id, worker="worker-1")
    clock.pass_by(601)

    with ThreadPoolExecutor(SCHEDULERS) as pool:
        expired = [task_id for found in pool.map(lambda ledger: lapse(ledger, clock), ledgers) for task_id in found]
    with ThreadPoolExecutor(SCHEDULERS) as pool:
        resent = [
            task_id for found in pool.map(lambda ledger: ledger.queue.resend_lost(), ledgers) for task_id in found
        ]

    assert Counter(expired) == Counter(running)
    assert Counter(resent) == Counter(queued)
    assert all(events(ledgers[0], task_id)[Event.LOST] == 1 for task_id in running)
    assert all(events(ledgers[0], task_id)[Event.RESENT] == 1 for task_id in queued)
    invited = [invitation.task_id for invitation in ledgers[0].outbox.due(limit=100)]
    assert Counter(invited) == Counter(running + queued)


@pytest.mark.slow
def test_everything_at_once_never_waits_in_a_circle(ledgers: list[SqlLedger]) -> None:
    """Relays, claims, heartbeats, reports and cancels touch the same rows. A deadlock would be LedgerUnavailable."""
    ids = added(ledgers[0], 60)
    relays = [Relay(ledger.outbox, lambda _task_id, _queue: None, filled=threading.Event()) for ledger in ledgers]
    done = threading.Event()

    def relay(number: int) -> None:
        while not done.is_set():
            relays[number].step()
            ledgers[number].queue.resend_lost()
            time.sleep(0.001)

    def work(number: int) -> None:
        ledger = ledgers[number % SCHEDULERS]
        for task_id in ids[number::4]:
            assignment = ledger.attempts.claim(task_id, worker=f"worker-{number}")
            assert assignment is not None
            ledger.attempts.heartbeat(task_id, 1)
            if number == 0:
                ledgers[1].tasks.request_cancel(task_id)
            if number == 1:
                ledger.attempts.release(task_id, 1, reason="draining")
                ledger.attempts.claim(task_id, worker=f"worker-{number}")
                ledger.attempts.report(task_id, 2, a_report(task_id=task_id, attempt=2))
            else:
                ledger.attempts.report(task_id, 1, a_report(task_id=task_id))

    with ThreadPoolExecutor(SCHEDULERS + 4) as pool:
        relaying = [pool.submit(relay, number) for number in range(SCHEDULERS)]
        try:
            list(pool.map(work, range(4)))
        finally:
            done.set()
        for one in relaying:
            one.result()

    assert {ledgers[0].tasks.get(task_id).outcome for task_id in ids} == {Outcome.PASSED}


@pytest.mark.services
def test_relays_in_processes_of_their_own_send_everything_once(database_url: str, tmp_path: Path) -> None:
    """Each process writes its messages to its own file."""
    program = (
        "import sys, threading; from pathlib import Path\n"
        "from scheduler.ledger.database import Database; from scheduler.background.relay import Relay\n"
        "from scheduler.ledger.retry_policy import LedgerRules; from scheduler.ledger.ledger import SqlLedger\n"
        "sent = open(sys.argv[2], 'a', buffering=1)\n"
        "ledger = SqlLedger(Database(sys.argv[1]), LedgerRules())\n"
        "relay = Relay(ledger.outbox, lambda task_id, queue: print(task_id, file=sent), filled=threading.Event())\n"
        "relay.start(); print('up', flush=True); sys.stdin.read(); relay.close()\n"
    )
    with ExitStack() as undo:
        ledger = undo.enter_context(closing(a_ledger(database_url, HandClock(time.time()))))
        processes = []
        for number in range(2):
            argv = [sys.executable, "-c", program, database_url, str(tmp_path / f"sent-{number}")]
            process = subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            undo.callback(process.kill)
            processes.append(process)
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
        ids = added(ledger, 200)

        deadline = time.monotonic() + 60
        while ledger.outbox.due(limit=1) or any(
            ledger.tasks.get(task_id).state is TaskState.ACCEPTED for task_id in ids
        ):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        for process in processes:
            process.communicate(timeout=30)

    sent = [task_id for file in tmp_path.glob("sent-*") for task_id in file.read_text().split()]
    assert Counter(sent) == Counter(ids)
