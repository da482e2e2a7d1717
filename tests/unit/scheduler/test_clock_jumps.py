"""The ledger after its clock has jumped for hours, and beside a scheduler whose clock differs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from alts.shared.auth.keys import TokenKeys
from alts.shared.auth.tokens import issue_token
from alts.shared.clock import SteadyClock
from alts.shared.errors import InvalidToken
from alts.shared.models.ledger import TaskState
from alts.shared.models.report import Outcome
from scheduler.api.auth import TokenReader
from scheduler.ledger.idempotency import Submission
from scheduler.ledger.ledger import SqlLedger
from tests.support.builders import a_config, a_report, a_spec
from tests.support.scheduler_parts import QUEUE, HandClock, a_ledger

HOUR = 3600.0
JUMPS = [2 * HOUR, 3 * HOUR, 26 * HOUR]


@pytest.fixture
def ahead() -> HandClock:
    """The clock of a process that was, or is, hours ahead."""
    return HandClock(1_700_000_000.0)


@pytest.fixture
def ledger(tmp_path: Path, ahead: HandClock) -> Iterator[SqlLedger]:
    with closing(a_ledger(tmp_path, ahead, retry_delay=10.0)) as found:
        yield found


def sent(ledger: SqlLedger) -> list[str]:
    """Send the due messages, as the relay does; return the tasks' ids."""
    due = ledger.outbox.due(limit=100)
    ledger.outbox.mark_sent(ledger.outbox.take(due, relay="00000000-0000-4000-8000-000000000002", seconds=10))
    return [one.task_id for one in due]


def added(ledger: SqlLedger) -> str:
    return ledger.tasks.add(a_spec(), queue=QUEUE, submitted_by="me@example.org")


@pytest.mark.parametrize("jump", JUMPS)
def test_a_task_that_was_queued_while_the_clock_was_ahead_is_claimed_now(
    ledger: SqlLedger, ahead: HandClock, jump: float
) -> None:
    task_id = added(ledger)
    assert sent(ledger) == [task_id]

    ahead.pass_by(-jump)

    assert ledger.attempts.claim(task_id, worker="worker-1") is not None


@pytest.mark.parametrize("jump", JUMPS)
def test_an_invitation_that_was_written_while_the_clock_was_ahead_goes_out_now(
    ledger: SqlLedger, ahead: HandClock, jump: float
) -> None:
    task_id = added(ledger)
    ahead.pass_by(-jump)
    assert sent(ledger) == []

    assert ledger.queue.recall_far_ahead() == (task_id,)

    assert sent(ledger) == [task_id]
    assert ledger.attempts.claim(task_id, worker="worker-1") is not None


@pytest.mark.parametrize("jump", JUMPS)
def test_an_invitation_that_a_relay_took_while_the_clock_was_ahead_is_free_now(
    ledger: SqlLedger, ahead: HandClock, jump: float
) -> None:
    ahead.pass_by(-jump)
    task_id = added(ledger)
    ahead.pass_by(jump)
    ledger.outbox.take(ledger.outbox.due(limit=1), relay="00000000-0000-4000-8000-000000000001", seconds=10)
    ahead.pass_by(-jump)
    assert sent(ledger) == []

    ledger.queue.recall_far_ahead()

    assert sent(ledger) == [task_id]


@pytest.mark.parametrize("jump", JUMPS)
def test_an_invitation_that_got_lost_while_the_clock_was_ahead_is_sent_again_now(
    ledger: SqlLedger, ahead: HandClock, jump: float
) -> None:
    task_id = added(ledger)
    sent(ledger)

    ahead.pass_by(-jump)

    assert ledger.queue.recall_far_ahead() == (task_id,)
    assert sent(ledger) == [task_id]


def test_what_is_ahead_as_it_should_be_is_left_alone(ledger: SqlLedger, ahead: HandClock) -> None:
    retried, queued = added(ledger), added(ledger)
    sent(ledger)
    ledger.attempts.claim(retried, worker="worker-1")
    ledger.attempts.report(retried, 1, a_report(task_id=retried, outcome=Outcome.ERRORED, retryable=True))

    assert ledger.queue.recall_far_ahead() == ()
    # The wait before a retry counts as usual.
    assert ledger.attempts.claim(retried, worker="worker-2") is None
    assert ledger.tasks.get(queued).state is TaskState.QUEUED
    ahead.pass_by(11)
    assert sent(ledger) == [retried]


@pytest.mark.parametrize("jump", JUMPS)
def test_a_retry_that_began_to_wait_while_the_clock_was_ahead_does_not_wait_for_hours(
    ledger: SqlLedger, ahead: HandClock, jump: float
) -> None:
    task_id = added(ledger)
    sent(ledger)
    ledger.attempts.claim(task_id, worker="worker-1")
    ledger.attempts.announce("worker-2", ready=True)
    ledger.attempts.report(task_id, 1, a_report(task_id=task_id, outcome=Outcome.ERRORED, retryable=True))

    ahead.pass_by(-jump)

    assert ledger.queue.recall_far_ahead() == (task_id,)
    assert sent(ledger) == [task_id]
    # The failed worker is no longer avoided, either.
    assert ledger.attempts.claim(task_id, worker="worker-1") is not None


@pytest.mark.parametrize("jump", [-2 * HOUR, 2 * HOUR])
def test_a_lease_is_seen_to_be_prolonged_by_a_scheduler_whose_clock_differs(tmp_path: Path, jump: float) -> None:
    here, there = HandClock(), HandClock()
    there.pass_by(jump)
    with closing(a_ledger(tmp_path, here)) as ours, closing(a_ledger(tmp_path, there)) as theirs:
        task_id = added(ours)
        ours.attempts.claim(task_id, worker="worker-1")
        before = ours.leases.held()
        there.pass_by(1)
        theirs.attempts.heartbeat(task_id, 1)

        assert ours.leases.expire(before) == ()

        assert ours.tasks.get(task_id).state is TaskState.RUNNING
        assert ours.leases.expire(ours.leases.held()) == (task_id,)


@pytest.mark.parametrize("jump", [-2 * HOUR, 2 * HOUR])
def test_a_worker_that_announces_itself_to_a_scheduler_whose_clock_differs_is_there(
    tmp_path: Path, jump: float
) -> None:
    here, there = HandClock(), HandClock()
    there.pass_by(jump)
    with closing(a_ledger(tmp_path, here)) as ours, closing(a_ledger(tmp_path, there)) as theirs:
        for _ in range(5):
            theirs.attempts.announce("worker-1", ready=True)
            ours.workers.present()
            here.pass_by(5)
            there.pass_by(5)
        assert [one.worker for one in ours.workers.present()] == ["worker-1"]

        # The worker dies.
        for _ in range(7):
            here.pass_by(5)
            last = ours.workers.present()
        assert last == ()


def test_a_worker_that_was_heard_long_ago_is_away_whatever_has_been_looked_at(tmp_path: Path) -> None:
    clock = HandClock()
    with closing(a_ledger(tmp_path, clock)) as ledger:
        ledger.attempts.announce("worker-1", ready=True)
        assert ledger.workers.present()
        clock.pass_by(20)
        ledger.attempts.announce("worker-1", ready=True)
        clock.pass_by(3600)

        assert ledger.workers.present() == ()


def test_a_clock_that_jumps_ahead_for_hours_forgets_no_key_too_early(tmp_path: Path) -> None:
    clock = HandClock()
    with closing(a_ledger(tmp_path, clock, idempotency_seconds=HOUR)) as ledger:
        first = ledger.tasks.add(a_spec(), queue=QUEUE, submitted_by="me@example.org", key="one")
        clock.pass_by(6 * HOUR)
        ledger.tasks.add(a_spec(), queue=QUEUE, submitted_by="me@example.org", key="another")
        clock.pass_by(-6 * HOUR)

        assert ledger.tasks.submitted([Submission("me@example.org", "one", a_spec())]) == [first]


class Tokens:
    """A scheduler's reading of tokens, on a host whose clock can jump."""

    def __init__(self) -> None:
        self.monotonic = HandClock(0.0)
        self.wall = HandClock(datetime.now(UTC).timestamp())
        clock = SteadyClock(wall=self.wall, monotonic=self.monotonic, settle=600.0)
        self.reader = TokenReader(TokenKeys(a_config()), 10.0, clock)

    def pass_by(self, seconds: float) -> None:
        self.monotonic.pass_by(seconds)
        self.wall.pass_by(seconds)

    def issue(self, *, lifetime: float, at: float | None = None) -> str:
        now = datetime.fromtimestamp(self.wall.now if at is None else at, UTC)
        lasting = timedelta(seconds=lifetime)
        return issue_token(a_config().jwt_secret, algorithm="HS256", email="me@example.org", lifetime=lasting, now=now)

    def takes(self, token: str) -> bool:
        try:
            self.reader.read(token)
        except InvalidToken:
            return False
        return True


@pytest.mark.parametrize("jump", [2 * HOUR, -3 * HOUR])
def test_a_token_survives_a_jump_of_the_clock(jump: float) -> None:
    tokens = Tokens()
    before = tokens.issue(lifetime=HOUR)

    tokens.wall.pass_by(jump)

    assert tokens.takes(before)
    assert tokens.takes(tokens.issue(lifetime=HOUR))


def test_a_token_outlives_a_jump_ahead_by_no_more_than_the_clock_takes_to_settle() -> None:
    tokens = Tokens()
    token = tokens.issue(lifetime=HOUR)
    tokens.wall.pass_by(2 * HOUR)
    assert tokens.takes(token)

    tokens.pass_by(601)

    assert not tokens.takes(token)


def test_a_process_that_was_started_with_a_wrong_clock_takes_the_tokens_of_the_right_one() -> None:
    tokens = Tokens()

    for _ in range(3):
        tokens.wall.pass_by(-2 * HOUR)
        assert tokens.takes(tokens.issue(lifetime=60))
        tokens.pass_by(1)


def test_an_expired_token_is_refused_though_the_clock_stands_still_where_it_was() -> None:
    tokens = Tokens()
    token = tokens.issue(lifetime=60)

    tokens.pass_by(71)

    assert not tokens.takes(token)
