"""Detection of values that have not changed for a while, by this process's monotonic clock. Pure.

Times from other hosts are not compared with this host's clock, because the clocks may differ by hours.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Unchanged(Generic[Key]):
    """Remembers the value of each key, and since when it has that value."""

    def __init__(self) -> None:
        self._seen: dict[Key, tuple[object, float]] = {}

    def look(self, values: Mapping[Key, object], *, began: float, ended: float) -> dict[Key, float]:
        """Compare with the last values; return for each key the seconds for which its value is known to be the same.

        `began`, `ended`: times of the query and of its answer. An age counts from the answer that first had the value
        to the latest query, so a slow query makes no value look older. Keys that are not in `values` are forgotten.
        """
        self._seen = {
            key: known if (known := self._seen.get(key)) is not None and known[0] == value else (value, ended)
            for key, value in values.items()
        }
        return {key: max(0.0, began - since) for key, (_, since) in self._seen.items()}

    def forget(self) -> None:
        """Forget all values, as at the start."""
        self._seen = {}
