"""Places for large bodies: a limit for all bodies in memory, and a lower one for each sender."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakValueDictionary

from alts.shared.errors import SchedulerBusy


class Places:
    """A fixed number of places, of which each holder gets a few. A slow holder delays only itself."""

    def __init__(self, most: int, *, each: int, patience: float) -> None:
        """`most`: places in all. `each`: places per holder. `patience`: seconds that a holder waits for a place."""
        self._all = asyncio.Semaphore(most)
        self._each = each
        self._patience = patience
        self._own: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def place(self, holder: str) -> AsyncIterator[None]:
        """Hold a place during the `async with`. Raises SchedulerBusy if none becomes free in time."""
        own = self._own.setdefault(holder, asyncio.Semaphore(self._each))
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(self._patience):
                    await stack.enter_async_context(own)
                    await stack.enter_async_context(self._all)
            except TimeoutError:
                raise SchedulerBusy("too many large requests are in progress", resolution="try again later") from None
            yield
