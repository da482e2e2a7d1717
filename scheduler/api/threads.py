"""Threads for blocking calls. Each kind of request has its own number of threads, so none waits for another kind.

A worker whose heartbeat waits behind callers who wait for S3 loses its lease, and its task is run a second time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

from anyio import CapacityLimiter, fail_after, to_thread

Given = ParamSpec("Given")
Answer = TypeVar("Answer")

# Each thread may hold one of scheduler.ledger.database's CONNECTIONS.
CALLER_THREADS = 24
WORKER_THREADS = 16
# These hold no connection while they wait for S3, which may take minutes: see alts.shared.storage.s3.
ARTIFACT_THREADS = 8
# Time that a caller waits for one of these threads.
ARTIFACT_PATIENCE = 10.0  # seconds


class AllBusyError(Exception):
    """No thread was free in time."""


class Threads:
    """Runs a limited number of calls at once. Further calls wait in order, without a thread."""

    def __init__(self, most: int, *, patience: float | None = None) -> None:
        """`most`: calls at once. `patience`: seconds that a call waits for its turn; None for no limit."""
        self._limiter = CapacityLimiter(most)
        self._patience = patience

    async def run(self, call: Callable[Given, Answer], *args: Given.args, **kwargs: Given.kwargs) -> Answer:
        """Run the call in a thread and return its result. Raises AllBusyError if its turn does not come in time."""
        place = object()
        try:
            with fail_after(self._patience):
                await self._limiter.acquire_on_behalf_of(place)
        except TimeoutError:
            raise AllBusyError from None
        try:
            # A limiter of its own: the default one would make the call wait again, behind all sync routes.
            return await to_thread.run_sync(partial(call, *args, **kwargs), limiter=CapacityLimiter(1))
        finally:
            self._limiter.release_on_behalf_of(place)


def limit_sync_routes() -> None:
    """Limit the sync routes of this event loop, all of which are for callers, to CALLER_THREADS at once."""
    to_thread.current_default_thread_limiter().total_tokens = CALLER_THREADS
