"""How many machines a file of tests may make: the table of tests/README.md, read by tests/conftest.py."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.support.checkout import ROOT

TABLE = ROOT / "tests/README.md"

_ROW = re.compile(r"\| `(?P<file>tests/\S+\.py)` \| (?P<test>\d+) \| (?P<long>\d+) \| (?P<plain>\d+) \|")


@dataclass(frozen=True)
class Suite:
    """A row of the table."""

    machines: int
    """That the file may make in `make test`, by the service's own runner."""
    long: int
    """That it may make beside them where tests of `make test-long` run."""
    containers: int
    """That its tests may start themselves."""

    def most(self, *, long: bool) -> int:
        return self.machines + (self.long if long else 0)


NOTHING = Suite(0, 0, 0)


def suites() -> dict[str, Suite]:
    """The rows of the table by the file's path, such as "tests/acceptance/test_cancel.py"."""
    return {
        row["file"]: Suite(int(row["test"]), int(row["long"]), int(row["plain"]))
        for row in _ROW.finditer(TABLE.read_text(encoding="utf-8"))
    }
