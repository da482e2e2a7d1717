"""A command that has ended."""

from __future__ import annotations

from alts.core.command import Completed, shown


def test_the_tail_is_the_last_lines() -> None:
    done = Completed(argv=("x",), exit_code=0, output="1\n2\n3\n\n", seconds=0)

    assert done.tail(2) == "2\n3"


def test_an_argv_is_shown_as_one_would_type_it() -> None:
    assert shown(["echo", "a b", "$HOME"]) == "echo 'a b' '$HOME'"
