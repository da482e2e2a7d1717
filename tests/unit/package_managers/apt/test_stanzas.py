"""Stanzas of fields, whatever a package or a repository has written into them."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from alts.package_managers.apt.stanzas import read_stanzas


def test_stanzas_are_read_with_lines_that_belong_to_a_value() -> None:
    text = "Package: a\nDescription: x\n Version: of the description\nVersion: 1\n\n\nPackage: b\n"

    first, second = read_stanzas(text)

    assert (first["Package"], first["Version"], second["Package"]) == ("a", "1", "b")


def test_a_stanza_without_a_field_hides_none_of_the_others() -> None:
    assert [stanza.get("A") for stanza in read_stanzas("nonsense\n\nA: 1\n")] == [None, "1"]


def test_a_line_is_not_opened_as_a_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("Version: 1\n")

    assert not any(read_stanzas(str(file)))


@given(st.text(alphabet="A:b \n\t\r\x0b\x0c\x1c\x85\u2028\0#-é"))
def test_no_text_is_too_odd(text: str) -> None:
    read_stanzas(text)
