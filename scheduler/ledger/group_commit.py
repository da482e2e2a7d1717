"""Group commit: requests that come while the ledger is being written to share the next transaction.

A transaction costs a wait for the disk and some statements, whatever the number of its rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST = 200
"""Items of one group. Others that write to the ledger wait for it."""


class GroupCommit(Generic[Item, Result]):
    """Writes items in groups, one group at a time, in a thread of its own. For one event loop."""

    def __init__(self, write: Callable[[Sequence[Item]], Sequence[Result | Exception]], *, most: int = MOST) -> None:
        """`write` stores a group, and returns the result or the error of each item. What it raises fails them all."""
        self._write = write
        self._most = most
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="group-commit")
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._group: asyncio.Future[Sequence[Result | Exception]] | None = None
        """The group that is being written."""

    async def add(self, item: Item) -> Result:
        """Store an item. Returns its result when its group is on disk. Raises its error."""
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        self._write_next()
        return await answer

    def _write_next(self) -> None:
        """Write those that wait, unless a group is being written: then they wait for its end."""
        if self._group is not None or not self._waiting:
            return
        taken, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        loop = asyncio.get_running_loop()
        self._group = loop.run_in_executor(self._thread, self._write, [item for item, _ in taken])
        self._group.add_done_callback(lambda group: self._answer(group, [answer for _, answer in taken]))

    def _answer(
        self, group: asyncio.Future[Sequence[Result | Exception]], answers: Sequence[asyncio.Future[Result]]
    ) -> None:
        self._group = None
        error = group.exception()
        outcomes = [error] * len(answers) if error is not None else group.result()
        for answer, outcome in zip(answers, outcomes, strict=True):
            if answer.done():
                continue  # whoever asked is gone
            if isinstance(outcome, BaseException):
                answer.set_exception(outcome)
            else:
                answer.set_result(outcome)
        self._write_next()
