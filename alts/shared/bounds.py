"""Limits on the size of a request. Clients keep them, and the scheduler checks them before parsing."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass
from typing import Any, cast

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

MOST_VALUES = 16_384
"""Most JSON values in a worker's request. Parsing and checking them takes about 10 ms, and blocks all other threads."""
LARGEST_REPORT = 2 << 20
"""Most bytes of a report in JSON. The report of a large package has a tenth of that."""

# Every JSON value except the first follows one of these.
_SEPARATORS = (b",", b"[", b"{")


@dataclass(frozen=True)
class AtMost:
    """Length limit of a collection, used as an annotation: Annotated[tuple[Item, ...], AtMost(20)].

    The length is checked before any item, and checking ends at the first wrong item. pydantic's own max_length counts
    valid items only, so a million wrong items would give a million errors.
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
    """Tell whether a JSON text in UTF-8 has more than `most` values, without parsing it: 1 ms per megabyte.

    The answer for text that is not JSON means nothing.
    """
    if _separators(content) < most:
        return False
    # Separators inside strings do not count.
    plain = content.replace(b"\\\\", b"").replace(b'\\"', b"")
    if plain.count(b'"') > 4 * most:  # at most two around a value, and two around its key
        return True
    return _separators(b"".join(plain.split(b'"')[::2])) >= most


def _separators(content: bytes) -> int:
    return sum(map(content.count, _SEPARATORS))
