"""Strict JSON bodies: no duplicate keys, no NaN or Infinity, valid UTF-8 only.

The reader is the standard library's: orjson and msgspec accept duplicate keys.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, NoReturn

from alts.shared.bounds import has_more_values

MOST_KEYS = 50
"""Limit of keys in an object. The largest object of a valid request has 17."""


def read_json(body: bytes, *, most_values: int) -> Any:
    """Parse JSON as RFC 8259 defines it.

    Raises json.JSONDecodeError also for duplicate keys, NaN, infinite or too long numbers, unpaired surrogates, invalid
    UTF-8, nesting deeper than Python's recursion limit, and more values or keys than are accepted.
    """
    if has_more_values(body, most_values):
        raise _wrong(f"more than {most_values} values")
    try:
        text = body.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_one_of_each, parse_constant=_refuse, parse_float=_finite)
        if b"\\ud" in body or b"\\uD" in body:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError:
        raise
    except UnicodeError:
        raise _wrong("not UTF-8, or half of a surrogate pair") from None
    except RecursionError:
        raise _wrong("nested too deeply") from None
    except ValueError as error:
        raise _wrong(str(error)) from None
    return value


def _one_of_each(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MOST_KEYS:
        raise ValueError(f"an object has more than {MOST_KEYS} keys")
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has the same key twice")
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _wrong(message: str) -> json.JSONDecodeError:
    return json.JSONDecodeError(message, "", 0)
