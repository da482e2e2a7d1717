"""The relay: sends invitations from the outbox to the broker, and marks them as sent."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from structlog.contextvars import bound_contextvars

from alts.shared.errors import UnknownQueue
from alts.shared.periodic import LONGEST_PAUSE, Loop
from scheduler.ledger.outbox import Invitation
from scheduler.ledger.retry_policy import LONGEST_POSTPONE_SECONDS

log = logging.getLogger(__name__)

BATCH = 100
# New tasks wake the relay at once. A delayed retry may be late by this much.
POLL_SECONDS = 0.5

# Several relays may share a ledger. An invitation that one took is free again after this time, if the relay died.
TAKEN_SECONDS = 10.0

Send = Callable[[str, str], None]
"""Sends the invitation of a task id to a queue. Raises BrokerUnavailable or UnknownQueue."""


class Outbox(Protocol):
    """Invitations to be sent; scheduler.ledger.outbox implements it."""

    def due(self, *, limit: int) -> tuple[Invitation, ...]: ...

    def take(self, wanted: Sequence[Invitation], *, relay: str, seconds: float) -> tuple[Invitation, ...]: ...

    def give_back(self, taken: Iterable[Invitation], *, relay: str) -> None: ...

    def mark_sent(self, invitations: Iterable[Invitation]) -> None: ...

    def postpone(self, invitation: Invitation, *, seconds: float) -> None: ...


class Relay:
    """Sends due invitations, in a thread of its own.

    An invitation may be sent twice if the process dies before marking it as sent; none is lost.
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
        """`filled`: set by the ledger when it has written an invitation. Times are in seconds."""
        self._outbox = outbox
        self._send = send
        self._poll_seconds = poll_seconds
        self._clock = clock
        self._id = str(uuid.uuid4())
        self._loop = Loop("relay", self.step, wake=filled, longest_pause=longest_pause)
        self.start = self._loop.start
        self.close = self._loop.close

    def step(self) -> float:
        """Send one batch; return the seconds to wait before the next one. Raises InfrastructureError."""
        until = self._clock() + TAKEN_SECONDS / 2
        due = self._outbox.due(limit=BATCH)
        taken = self._outbox.take(due, relay=self._id, seconds=TAKEN_SECONDS)
        sent: list[Invitation] = []
        done = 0
        try:
            for invitation in taken:
                # After a long delay another relay may have taken the rest.
                if self._clock() > until:
                    break
                with bound_contextvars(task_id=invitation.task_id):
                    if self._deliver(invitation):
                        sent.append(invitation)
                done += 1
        finally:
            # Also after the broker failed in mid-batch: sent invitations must not go out a second time.
            if sent:
                self._outbox.mark_sent(sent)
            if done < len(taken):
                self._outbox.give_back(taken[done:], relay=self._id)
        return 0.0 if len(due) == BATCH else self._poll_seconds

    def _deliver(self, invitation: Invitation) -> bool:
        try:
            self._send(invitation.task_id, invitation.queue)
        except UnknownQueue as error:
            log.error("an invitation has nowhere to go", extra={"reason": str(error)})  # noqa: TRY400 - the reason is all
            self._outbox.postpone(invitation, seconds=LONGEST_POSTPONE_SECONDS)
            return False
        return True
