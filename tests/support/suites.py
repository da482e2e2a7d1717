"""The limits on machines that CONTRIBUTING.md sets: one row for each file of tests. tests/conftest.py enforces them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.support.checkout import ROOT

TABLE = ROOT / "CONTRIBUTING.md"

_ROW = re.compile(r"\| `(?P<file>tests/\S+\.py)` \| (?P<test>\d+) \| (?P<long>\d+) \| (?P<plain>\d+) \|")


@dataclass(frozen=True)
class Suite:
    """The limits of one file."""

    machines: int
    """Machines that the service's own runner makes in `make test`."""
    long: int
    """Further machines if tests of `make test-long` run."""
    containers: int
    """Containers that the file's tests start themselves."""

    def most(self, *, long: bool) -> int:
        return self.machines + (self.long if long else 0)


NOTHING = Suite(0, 0, 0)


def suites() -> dict[str, Suite]:
    """Return the rows of the table by path, e.g. "tests/acceptance/test_cancel.py"."""
    return {
        row["file"]: Suite(int(row["test"]), int(row["long"]), int(row["plain"]))
        for row in _ROW.finditer(TABLE.read_text(encoding="utf-8"))
    }
