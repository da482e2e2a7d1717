"""How much a request may hold: what the caller's side must not send, and the scheduler's side refuses cheaply."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass
from typing import Any, cast

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

MOST_VALUES = 16_384
"""Values in a worker's request. Parsing and checking them takes some ten milliseconds; nobody else runs meanwhile."""
LARGEST_REPORT = 2 << 20
"""Bytes of a report in JSON. One of a large package has a tenth of that."""

# Every value but the first comes behind one of them.
_SEPARATORS = (b",", b"[", b"{")


@dataclass(frozen=True)
class AtMost:
    """A collection of at most so many items: Annotated[tuple[Item, ...], AtMost(20)].

    It is refused by its length before any item is looked at, and by its first wrong item alone. pydantic's own
    max_length counts only good items, so that it makes an error for each of a million wrong ones.
    """

    most: int

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        if schema["type"] in ("list", "tuple"):
            schema = cast(CoreSchema, {**schema, "fail_fast": True})
        return core_schema.no_info_before_validator_function(self._check, schema)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        described = handler(schema)
        described["maxProperties" if described.get("type") == "object" else "maxItems"] = self.most
        return described

    def _check(self, value: Any) -> Any:
        if isinstance(value, Sized) and not isinstance(value, str | bytes) and len(value) > self.most:
            raise PydanticCustomError(
                "too_long",
                "at most {most} items are accepted, not {actual}",
                {"most": self.most, "actual": len(value)},
            )
        return value


def has_more_values(content: bytes, most: int) -> bool:
    """Whether JSON in UTF-8 has more values than that: found without parsing, in a millisecond a megabyte.

    May be wrong about what is no JSON.
    """
    if _separators(content) < most:
        return False
    # Those inside of strings are text.
    plain = content.replace(b"\\\\", b"").replace(b'\\"', b"")
    if plain.count(b'"') > 4 * most:  # a value has two around itself, and two around its key
        return True
    return _separators(b"".join(plain.split(b'"')[::2])) >= most


def _separators(content: bytes) -> int:
    return sum(map(content.count, _SEPARATORS))
