"""The causes of a task's transitions. Pure."""

from __future__ import annotations

from enum import StrEnum


class Event(StrEnum):
    """The cause of a transition, as the history stores it."""

    ACCEPTED = "accepted"
    """The task is on disk."""
    SENT = "sent"
    """The broker has the invitation."""
    RESENT = "resent"
    """No worker followed the invitation. Another one is written."""
    DECLINED = "declined"
    """An invited worker could not take the task."""
    CLAIMED = "claimed"
    CANCEL_REQUESTED = "cancel_requested"
    """The worker is asked to stop."""
    REPORTED = "reported"
    """An attempt has ended. The entry's state tells whether another attempt follows."""
    RELEASED = "released"
    """An attempt was handed back unfinished."""
    LOST = "lost"
    """The attempt's worker stopped answering."""
    CLOSED = "closed"
    """The task ended while no worker had it."""
