"""The relay: sends the invitations that the ledger has written down, and strikes out what is sent."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from alts.shared.errors import UnknownQueue
from alts.shared.periodic import LONGEST_PAUSE, Loop
from scheduler.ledger.outbox import Invitation
from scheduler.ledger.retry_policy import LONGEST_POSTPONE_SECONDS

log = logging.getLogger(__name__)

BATCH = 100
# New work wakes the relay at once; this is how late a delayed retry may be.
POLL_SECONDS = 0.5

# Several relays may work on one ledger: what one takes is its own for so long, and anybody's when it has died.
TAKEN_SECONDS = 10.0

Send = Callable[[str, str], None]
"""Sends the invitation of a task id to a queue. Raises BrokerUnavailable or UnknownQueue."""


class Outbox(Protocol):
    """What the relay needs of the ledger."""

    def due(self, *, limit: int) -> tuple[Invitation, ...]: ...

    def take(self, wanted: Sequence[Invitation], *, relay: str, seconds: float) -> tuple[Invitation, ...]: ...

    def give_back(self, taken: Iterable[Invitation], *, relay: str) -> None: ...

    def mark_sent(self, invitations: Iterable[Invitation]) -> None: ...

    def postpone(self, invitation: Invitation, *, seconds: float) -> None: ...


class Relay:
    """Sends what is due, in a thread of its own.

    An invitation may go out twice, when we die before it is struck out; it is never forgotten. `filled` is the event
    that the ledger sets when it has written one.
    """

    def __init__(
        self,
        outbox: Outbox,
        send: Send,
        *,
        filled: threading.Event,
        poll_seconds: float = POLL_SECONDS,
        longest_pause: float = LONGEST_PAUSE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outbox = outbox
        self._send = send
        self._poll_seconds = poll_seconds
        self._clock = clock
        self._id = str(uuid.uuid4())
        self._loop = Loop("relay", self.step, wake=filled, longest_pause=longest_pause)
        self.start = self._loop.start
        self.close = self._loop.close

    def step(self) -> float:
        """Send one batch; how long to wait for the next one, in seconds. Raises InfrastructureError."""
        until = self._clock() + TAKEN_SECONDS / 2
        due = self._outbox.due(limit=BATCH)
        taken = self._outbox.take(due, relay=self._id, seconds=TAKEN_SECONDS)
        sent: list[Invitation] = []
        done = 0
        try:
            for invitation in taken:
                # A relay that was held up for long leaves the rest to the others: they may have it by now.
                if self._clock() > until:
                    break
                if self._deliver(invitation):
                    sent.append(invitation)
                done += 1
        finally:
            # Also where the broker went away in the middle: what it took must not go out a second time.
            if sent:
                self._outbox.mark_sent(sent)
            if done < len(taken):
                self._outbox.give_back(taken[done:], relay=self._id)
        return 0.0 if len(due) == BATCH else self._poll_seconds

    def _deliver(self, invitation: Invitation) -> bool:
        try:
            self._send(invitation.task_id, invitation.queue)
        except UnknownQueue as error:
            log.error(  # noqa: TRY400 - the reason is the whole story
                "an invitation has nowhere to go", extra={"task_id": invitation.task_id, "reason": str(error)}
            )
            self._outbox.postpone(invitation, seconds=LONGEST_POSTPONE_SECONDS)
            return False
        return True
