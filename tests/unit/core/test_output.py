"""Bounded output."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from alts.core.output import BoundedOutput


@given(st.lists(st.text(max_size=30), max_size=30))
def test_short_output_is_kept_as_it_came(pieces: list[str]) -> None:
    output = BoundedOutput()
    for piece in pieces:
        output.write(piece)

    assert output.text() == "".join(pieces)


@given(st.lists(st.text(alphabet="abc", min_size=1, max_size=50), max_size=50))
def test_long_output_keeps_its_beginning_and_its_end(pieces: list[str]) -> None:
    whole = "".join(pieces)
    output = BoundedOutput(head_limit=20, tail_limit=30)
    for piece in pieces:
        output.write(piece)
    text = output.text()

    assert len(text) <= 20 + 30 + 60
    assert text.startswith(whole[:20])
    assert text.endswith(whole[20:][-30:])
    if len(whole) > 50:
        assert f"{len(whole) - 50} characters left out" in text


def test_a_character_cut_between_two_reads_is_whole() -> None:
    output = BoundedOutput()
    for byte in "añb".encode():
        output.feed(bytes([byte]))

    assert output.text() == "añb"


def test_bytes_that_are_no_text_do_no_harm() -> None:
    output = BoundedOutput()
    output.feed(b"a\xff\xfeb")

    assert output.text() == "a��b"


def test_the_sink_hears_everything() -> None:
    heard: list[str] = []
    output = BoundedOutput(heard.append, head_limit=1, tail_limit=1)
    output.write("abcdef")

    assert "".join(heard) == "abcdef"
