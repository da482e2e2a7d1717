"""Files for a machine become variables that contain no template and no word of a shell."""

from __future__ import annotations

import base64
import re
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alts.core.instance import InstanceFile
from alts.provisioning.ansible import prepare_variables

ARGUMENT_LIMIT = 131_072


def batches_of(files: list[InstanceFile]) -> list[list[dict[str, Any]]]:
    return cast("list[list[dict[str, Any]]]", prepare_variables(files)["batches"])


def written(batches: list[list[dict[str, Any]]]) -> dict[str, str]:
    """Return the machine's files after it has run the commands."""
    content: dict[str, bytes] = {}
    for piece in (piece for batch in batches for piece in batch):
        kept = content.get(piece["path"], b"") if piece["redirection"] == ">>" else b""
        content[piece["path"]] = kept + base64.b64decode(piece["content_base64"])
    return {path: data.decode() for path, data in content.items()}


@given(
    st.dictionaries(
        st.from_regex(r"/[a-z0-9._-]{0,10}[a-z]/[a-z0-9]{1,20}", fullmatch=True),
        st.one_of(st.text(max_size=300), st.integers(60_000, 200_000).map(lambda size: "ä{{}}'" * (size // 6))),
        max_size=5,
    )
)
@settings(max_examples=50, deadline=None)
def test_what_goes_in_comes_out_again_and_fits_into_one_argument(contents: dict[str, str]) -> None:
    batches = batches_of([InstanceFile(path, content) for path, content in contents.items()])

    assert written(batches) == contents
    for batch in batches:
        commands = sum(len(value) + 60 for piece in batch for value in piece.values())
        assert commands < ARGUMENT_LIMIT


@given(st.text())
def test_no_content_can_be_a_template_or_a_word_of_a_shell(content: str) -> None:
    (batch,) = batches_of([InstanceFile("/etc/a", content)])

    assert all(re.fullmatch(r"[A-Za-z0-9+/=]*", piece["content_base64"]) for piece in batch)


def test_small_files_go_together_because_each_command_costs_time() -> None:
    assert len(batches_of([InstanceFile(f"/etc/file{number}", "x" * 100) for number in range(50)])) == 1


def test_without_files_there_is_still_a_batch_which_shows_that_the_machine_answers() -> None:
    assert batches_of([]) == [[]]


def test_an_empty_file_is_written_too() -> None:
    assert written(batches_of([InstanceFile("/etc/empty", "")])) == {"/etc/empty": ""}


def test_a_piece_says_where_it_goes_and_who_may_read_it() -> None:
    (batch,) = batches_of([InstanceFile("/etc/apt/keyrings/a.asc", "key", "0600")])

    assert batch[0] | {"content_base64": ""} == {
        "path": "/etc/apt/keyrings/a.asc",
        "folder": "/etc/apt/keyrings",
        "mode": "0600",
        "redirection": ">",
        "content_base64": "",
    }


@pytest.mark.parametrize(
    "path",
    ["relative", "/etc/{{ x }}", "/etc/a b", "/etc/../shadow", "/etc/a\n", "/etc/$(id)", "/etc/", "", "/etc/'a'"],
)
def test_a_path_that_is_not_plain_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="not a plain absolute path"):
        prepare_variables([InstanceFile(path, "")])


@pytest.mark.parametrize("mode", ["644", "0888", "u+s", "4755", "0644;id", "0644\n"])
def test_a_mode_that_is_not_plain_is_refused(mode: str) -> None:
    with pytest.raises(ValueError, match="not a mode"):
        prepare_variables([InstanceFile("/etc/a", "", mode)])
