"""Places for large bodies: what is in memory at once has a bound, and nobody takes all of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakValueDictionary

from alts.shared.errors import SchedulerBusy


class Places:
    """So many places, of which each holder has only some: who dawdles is in nobody's way but their own."""

    def __init__(self, most: int, *, each: int, patience: float) -> None:
        """`patience`: seconds that a holder waits for a place."""
        self._all = asyncio.Semaphore(most)
        self._each = each
        self._patience = patience
        self._own: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def place(self, holder: str) -> AsyncIterator[None]:
        """A place for as long as the `async with` lasts. Raises SchedulerBusy where none gets free in time."""
        own = self._own.setdefault(holder, asyncio.Semaphore(self._each))
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(self._patience):
                    await stack.enter_async_context(own)
                    await stack.enter_async_context(self._all)
            except TimeoutError:
                raise SchedulerBusy("too many large requests are under way", resolution="try again later") from None
            yield
