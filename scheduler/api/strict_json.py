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
"""Of an object. Each that is not known is an error; the largest object that anybody has to send has 17."""


def read_json(body: bytes, *, most_values: int) -> Any:
    """The value, as RFC 8259 has it.

    Raises json.JSONDecodeError also for a key that comes twice, NaN, infinite or endless numbers, halves of surrogate
    pairs, what is no UTF-8, what is nested deeper than Python follows, and more values or keys than are accepted.
    """
    if has_more_values(body, most_values):
        raise _wrong(f"it has more than {most_values} values")
    try:
        text = body.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_one_of_each, parse_constant=_refuse, parse_float=_finite)
        if b"\\ud" in body or b"\\uD" in body:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError:
        raise
    except UnicodeError:
        raise _wrong("is not UTF-8, or has half of a surrogate pair") from None
    except RecursionError:
        raise _wrong("is nested too deeply") from None
    except ValueError as error:
        raise _wrong(str(error)) from None
    return value


def _one_of_each(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MOST_KEYS:
        raise ValueError(f"an object has more than {MOST_KEYS} keys")
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key comes twice in one object")
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _wrong(message: str) -> json.JSONDecodeError:
    return json.JSONDecodeError(message, "", 0)
