"""Group commit: requests that wait for the ledger's disk at the same time share one transaction.

A transaction costs a wait for the disk and some statements, whatever the number of its rows.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from sqlalchemy import Connection

from alts.shared.errors import AltsError
from scheduler.ledger.database import Database

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST = 200
"""Items of one transaction. Others that write to the ledger wait for it."""


class GroupFailed(Exception):  # noqa: N818 - what happened
    """The items cannot be stored together. Each one is stored alone."""


@dataclass(eq=False)
class _Waiter(Generic[Item, Result]):
    item: Item
    woken: threading.Event = field(default_factory=threading.Event)
    leads: bool = False
    """Whether this thread is to write the next group."""
    done: bool = False
    result: Result | None = None


class GroupCommit(Generic[Item, Result]):
    """Writes items in groups. Any thread may use it; the first that comes writes for those that come meanwhile."""

    def __init__(
        self,
        database: Database,
        store: Callable[[Connection, Sequence[Item]], Mapping[int, Result]],
        store_alone: Callable[[Item], Result],
        *,
        most: int = MOST,
    ) -> None:
        """Set how items are stored.

        `store` writes the items of a group in a transaction and returns the results by their positions. It may leave
        items out, or raise GroupFailed. `store_alone` writes an item in a transaction of its own: one that was left
        out, and each one of a group that failed, so that no item's fault is another one's.
        """
        self._database = database
        self._store = store
        self._store_alone = store_alone
        self._most = most
        self._lock = threading.Lock()
        self._waiting: list[_Waiter[Item, Result]] = []
        self._led = False
        """Whether a thread writes, or has been told to."""

    def add(self, item: Item) -> Result:
        """Store an item. Returns its result when it is on disk. Raises what `store_alone` raises."""
        waiter: _Waiter[Item, Result] = _Waiter(item)
        with self._lock:
            self._waiting.append(waiter)
            waiter.leads, self._led = not self._led, True
        if not waiter.leads:
            waiter.woken.wait()
        if waiter.leads:
            self._lead()
        if waiter.done:
            return waiter.result  # type: ignore[return-value]  # set before `done`
        return self._store_alone(item)

    def _lead(self) -> None:
        """Write the group that has gathered by the time that the ledger is free. Wake its threads and the next leader.

        A failure of the ledger is not raised: each thread of the group tries alone, and gets an error of its own.
        """
        group: list[_Waiter[Item, Result]] = []
        try:
            with self._database.writing() as db:
                group = self._taken()
                results = self._store(db, [one.item for one in group])
            for position, result in results.items():
                group[position].result, group[position].done = result, True
        except (AltsError, GroupFailed) as error:
            log.info("requests are stored one by one", extra={"reason": str(error), "requests": len(group)})
        finally:
            self._hand_over(group or self._taken())

    def _taken(self) -> list[_Waiter[Item, Result]]:
        with self._lock:
            taken, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            return taken

    def _hand_over(self, group: Sequence[_Waiter[Item, Result]]) -> None:
        with self._lock:
            successor = self._waiting[0] if self._waiting else None
            self._led = successor is not None
        if successor is not None:
            successor.leads = True
            successor.woken.set()
        for one in group:
            one.woken.set()
