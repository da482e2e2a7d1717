"""Parsing and validation of JSON bodies, large ones in a separate thread."""

from __future__ import annotations

import json
import time
from typing import Any, Protocol

from fastapi.exceptions import RequestValidationError

from alts.shared.errors import SchedulerBusy
from scheduler.api.strict_json import read_json
from scheduler.api.threads import AllBusyError, Threads

# The largest requests, 1000 ids to cancel or 20 repositories, have fewer values.
CALLER_VALUES = 2048
SMALL = 4096
"""Bytes. A body up to this size is read on the event loop; the worst takes 1.5 ms (a line of 1900 components)."""

LONGEST_REST = 0.05  # seconds


class Field(Protocol):
    """FastAPI's model of a route's body."""

    def validate(self, value: Any, *, loc: tuple[int | str, ...]) -> tuple[Any, list[Any]]:
        """Return the object and the list of errors."""
        ...


class BodyReader:
    """Reads one large body at a time, because parsing and validation keep other threads from running."""

    def __init__(self, *, most_values: int, patience: float) -> None:
        """`most_values`: limit of JSON values in a body. `patience`: seconds that a large body waits for its turn."""
        self._most_values = most_values
        self._threads = Threads(1, patience=patience)

    async def read(self, body: bytes, field: Field | None) -> Any:
        """Return the object that the JSON describes; without a field, the plain JSON value.

        Raises RequestValidationError, or SchedulerBusy if too many large bodies wait already.
        """
        if len(body) <= SMALL:
            return self._read(body, field)
        try:
            return await self._threads.run(self._read_and_rest, body, field)
        except AllBusyError as error:
            raise SchedulerBusy("too many large requests are waiting") from error

    def _read_and_rest(self, body: bytes, field: Field | None) -> Any:
        """Read the body, then sleep as long as that took, so that other threads get their share of the interpreter."""
        started = time.perf_counter()
        try:
            return self._read(body, field)
        finally:
            time.sleep(min(time.perf_counter() - started, LONGEST_REST))

    def _read(self, body: bytes, field: Field | None) -> Any:
        try:
            value = read_json(body, most_values=self._most_values)
        except json.JSONDecodeError as error:
            entry = {"type": "json_invalid", "loc": ("body", error.pos), "msg": "", "ctx": {"error": error.msg}}
            raise RequestValidationError([entry]) from None
        if field is None:
            return value
        checked, errors = field.validate(value, loc=("body",))
        if errors:
            raise RequestValidationError(errors)
        return checked
