"""What must not be in two processes at once is in one group."""

from __future__ import annotations

import ast

import pytest

from tests.groups import FIRST, ROOT, group_of

FILES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py"))


def fixtures_of(file: str) -> set[str]:
    """Names of all arguments of the file's functions."""
    functions = [
        node
        for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    ]
    return {argument.arg for function in functions for argument in function.args.args}


@pytest.mark.parametrize("server", ["rabbitmq", "s3"])
def test_a_private_server_is_started_by_one_process(server: str) -> None:
    using = {file for file in FILES if server in fixtures_of(file)}

    assert len(using) > 3
    assert {group_of(file) for file in using} == {"services"}


def test_two_that_make_the_same_address_do_not_meet() -> None:
    files = ("tests/services/test_docker_seal.py", "tests/acceptance/test_hostile.py")

    assert {group_of(file) for file in files} == {"hostile"}


def test_the_longest_are_groups_that_there_are() -> None:
    assert set(FIRST) <= {group_of(file) for file in FILES}
