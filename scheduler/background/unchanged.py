"""Tell what has not changed for a while, by this process's own monotonic clock. Pure.

Times that other hosts have written are not compared with this host's clock: the clocks may differ by hours.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Unchanged(Generic[Key]):
    """Remembers for each key which value it had, and since when."""

    def __init__(self) -> None:
        self._seen: dict[Key, tuple[object, float]] = {}

    def look(self, values: Mapping[Key, object], *, began: float, ended: float) -> dict[Key, float]:
        """Take the values of now; return for each key the seconds for which its value is known to be the same.

        `began`, `ended`: when the values were asked for and when they came. A value counts from when it came, and
        only up to when it was asked for: what holds up a look makes nothing older. Other keys are forgotten.
        """
        self._seen = {
            key: known if (known := self._seen.get(key)) is not None and known[0] == value else (value, ended)
            for key, value in values.items()
        }
        return {key: max(0.0, began - since) for key, (_, since) in self._seen.items()}

    def forget(self) -> None:
        """Begin anew, as at the start."""
        self._seen = {}
