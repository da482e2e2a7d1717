"""Bodies become objects: parsed and checked, the large ones in a thread of their own."""

from __future__ import annotations

import json
import time
from typing import Any, Protocol

from fastapi.exceptions import RequestValidationError

from alts.shared.errors import SchedulerBusy
from scheduler.api.strict_json import read_json
from scheduler.api.threads import AllBusyError, Threads

# 1000 ids to cancel, or twenty repositories, and nothing else comes near.
CALLER_VALUES = 2048
SMALL = 4096
"""Bytes of a body that is read at once: in 1.5 ms at worst, a repository's line with 1900 components in it."""

LONGEST_REST = 0.05  # seconds


class Field(Protocol):
    """What FastAPI knows of a route's body."""

    def validate(self, value: Any, *, loc: tuple[int | str, ...]) -> tuple[Any, list[Any]]: ...


class BodyReader:
    """Reads one large body at a time: what parses JSON and checks it lets no other thread run meanwhile."""

    def __init__(self, *, most_values: int, patience: float) -> None:
        """`patience`: seconds that a body waits for its turn."""
        self._most_values = most_values
        self._threads = Threads(1, patience=patience)

    async def read(self, body: bytes, field: Field | None) -> Any:
        """What the JSON describes; without a field, any JSON's value.

        Raises RequestValidationError or SchedulerBusy.
        """
        if len(body) <= SMALL:
            return self._read(body, field)
        try:
            return await self._threads.run(self._read_and_rest, body, field)
        except AllBusyError as error:
            raise SchedulerBusy("too many large requests wait already") from error

    def _read_and_rest(self, body: bytes, field: Field | None) -> Any:
        """Leave the interpreter to others for as long as it was taken from them."""
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
