"""The broker in memory: kombu's, which wakes its consumer when a message arrives.

kombu's own looks at its queues in intervals: often for a task to begin soon, which keeps a processor awake.
"""

from __future__ import annotations

import threading
import time
from queue import Empty
from typing import Any

from kombu.connection import Connection
from kombu.transport import TRANSPORT_ALIASES, memory

NAME = "alts-memory"
"""The scheme of its URL."""


class _Changes:
    """A counter of changes in this process's queues that wakes those who wait for the next one."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.count = 0

    def note(self) -> None:
        with self._changed:
            self.count += 1
            self._changed.notify_all()

    def wait(self, *, since: int, seconds: float) -> None:
        """Wait for a change after the count was `since`, or that many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self.count != since, timeout=seconds)


# kombu's queues in memory belong to the process, too.
_changes = _Changes()


class Channel(memory.Channel):
    """Notes what may give a consumer something to do."""

    def _put(self, queue: str, message: Any, **kwargs: Any) -> None:
        super()._put(queue, message, **kwargs)  # type: ignore[no-untyped-call]
        _changes.note()

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        """Acknowledge a message, which makes room for another one."""
        super().basic_ack(delivery_tag, multiple=multiple)  # type: ignore[no-untyped-call]
        _changes.note()

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Reject a message, which makes room for another one."""
        super().basic_reject(delivery_tag, requeue=requeue)  # type: ignore[no-untyped-call]
        _changes.note()

    def basic_consume(self, *arguments: Any, **kwargs: Any) -> None:
        """Consume from a queue, which may have messages."""
        super().basic_consume(*arguments, **kwargs)  # type: ignore[no-untyped-call]
        _changes.note()


class Transport(memory.Transport):
    """kombu's transport in memory, without its intervals."""

    Channel = Channel

    def drain_events(self, connection: Connection, timeout: float | None = None, **_more: Any) -> None:  # noqa: ARG002
        """Deliver the next message. Raises TimeoutError if none comes within `timeout` seconds."""
        cycle: Any = self.cycle
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            before = _changes.count
            try:
                cycle.get(self._deliver, timeout=timeout)
            except Empty:
                left = float("inf") if deadline is None else deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError from None
                _changes.wait(since=before, seconds=min(left, threading.TIMEOUT_MAX))
            else:
                return


def install() -> None:
    """Make the broker known to kombu by its name."""
    TRANSPORT_ALIASES[NAME] = f"{__name__}:Transport"
