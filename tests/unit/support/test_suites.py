"""CONTRIBUTING.md says how many machines each command and each file of tests may make."""

from __future__ import annotations

import re

from tests.support.checkout import ROOT
from tests.support.suites import TABLE, suites

# The row of a make target: command, tests, needs, machines, containers.
COMMAND = re.compile(r"\| `(make \S+)` \|[^|]+\|[^|]+\| (\d+) \| (\d+) \|")


def limits() -> dict[str, tuple[int, int]]:
    """Return the machines and the containers of each command that has a limit."""
    return {row[1]: (int(row[2]), int(row[3])) for row in COMMAND.finditer(TABLE.read_text(encoding="utf-8"))}


def test_every_row_of_the_table_is_of_a_file_that_is_there() -> None:
    assert suites()
    assert [file for file in suites() if not (ROOT / file).is_file()] == []


def test_the_rows_are_in_alphabetical_order() -> None:
    assert list(suites()) == sorted(suites())


def test_a_command_may_make_as_many_machines_as_its_files_together() -> None:
    rows = suites().values()
    long = [row for file, row in suites().items() if "pytest.mark.long" in (ROOT / file).read_text(encoding="utf-8")]

    assert limits() == {
        "make check": (0, 0),
        "make test": (sum(row.machines for row in rows), sum(row.containers for row in rows)),
        "make test-long": (sum(row.most(long=True) for row in long), sum(row.containers for row in long)),
    }
