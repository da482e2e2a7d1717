"""Threads for what blocks. Each sort of request has a number of its own, so that none waits for another's.

A worker whose heartbeat waits behind callers who wait for S3 loses its lease, and its task is run a second time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

from anyio import CapacityLimiter, fail_after, to_thread

Given = ParamSpec("Given")
Answer = TypeVar("Answer")

# Each of these may hold one of scheduler.ledger.database's CONNECTIONS.
CALLER_THREADS = 24
WORKER_THREADS = 16
# These hold none while they wait for S3, which may take minutes: see alts.shared.storage.s3.
ARTIFACT_THREADS = 8
# Of a caller, until one of those is free.
ARTIFACT_PATIENCE = 10.0  # seconds


class AllBusyError(Exception):
    """None of the threads was free in time."""


class Threads:
    """Run a limited number of calls at once. Further calls wait in order, and hold no thread meanwhile."""

    def __init__(self, most: int, *, patience: float | None = None) -> None:
        """`patience`: seconds that a call waits for its turn; None for as long as it takes."""
        self._limiter = CapacityLimiter(most)
        self._patience = patience

    async def run(self, call: Callable[Given, Answer], *args: Given.args, **kwargs: Given.kwargs) -> Answer:
        """What the call gives. Raises AllBusyError where its turn does not come, and whatever the call raises."""
        place = object()
        try:
            with fail_after(self._patience):
                await self._limiter.acquire_on_behalf_of(place)
        except TimeoutError:
            raise AllBusyError from None
        try:
            # Its turn has come: with no limiter named it would stand in the one queue of all sync routes once more.
            return await to_thread.run_sync(partial(call, *args, **kwargs), limiter=CapacityLimiter(1))
        finally:
            self._limiter.release_on_behalf_of(place)


def limit_sync_routes() -> None:
    """Let this event loop's sync routes, which are the callers', have CALLER_THREADS at once."""
    to_thread.current_default_thread_limiter().total_tokens = CALLER_THREADS
