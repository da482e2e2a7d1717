"""Frames and the wrapper's first line, for any split of the connection's data."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alts.runners.docker.frames import STDOUT, FirstLine, FrameReader, MarkedOutput

FRAMES = st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=40)), max_size=8)


def on_the_wire(frames: list[tuple[int, bytes]]) -> bytes:
    return b"".join(struct.pack(">BxxxL", stream, len(payload)) + payload for stream, payload in frames)


@given(frames=FRAMES, size=st.integers(min_value=1, max_value=30))
def test_frames_survive_being_cut_anywhere(frames: list[tuple[int, bytes]], size: int) -> None:
    wire = on_the_wire(frames)
    reader = FrameReader()

    parts = [part for start in range(0, len(wire), size) for part in reader.feed(wire[start : start + size])]

    for stream in (1, 2):
        sent = b"".join(payload for number, payload in frames if number == stream)
        assert b"".join(payload for number, payload in parts if number == stream) == sent


def test_the_beginning_of_a_frame_does_not_wait_for_its_end() -> None:
    assert FrameReader().feed(on_the_wire([(STDOUT, b"abcdef")])[:-3]) == [(STDOUT, b"abc")]


@given(rest=st.binary(max_size=30), size=st.integers(min_value=1, max_value=10))
def test_the_first_line_is_the_process_id_and_the_rest_is_untouched(rest: bytes, size: int) -> None:
    first, text = FirstLine(), b"4711\n" + rest

    passed_on = b"".join(first.feed(text[start : start + size]) for start in range(0, len(text), size))

    assert first.number == 4711
    assert passed_on == rest
    assert first.foreign == b""


@pytest.mark.parametrize("said", [b"", b"OCI runtime exec failed", b"no such file\n", b"\n"])
def test_what_is_no_process_id_is_kept_as_output(said: bytes) -> None:
    first = FirstLine()

    rest = first.feed(said)

    assert first.number is None
    assert first.foreign + rest == said


def test_half_a_process_id_is_none() -> None:
    first = FirstLine()
    first.feed(b"47")

    assert first.number is None


MARK = "0123456789abcdef"


def marked(output: bytes, code: int) -> bytes:
    return f"{MARK}\n".encode() + output + f"\n{MARK} {code}\n".encode()


@given(
    before=st.binary(max_size=30),
    output=st.binary(max_size=60),
    code=st.integers(min_value=0, max_value=255),
    size=st.integers(min_value=1, max_value=40),
)
def test_a_marked_output_is_split_off_wherever_it_is_cut(before: bytes, output: bytes, code: int, size: int) -> None:
    taken = bytearray()
    answer = MarkedOutput(MARK, taken.extend)
    text = before + marked(output, code) + b"after"

    for start in range(0, len(text), size):
        answer.feed(text[start : start + size])

    assert (bytes(taken), answer.exit_code) == (output, code)


def test_a_marked_output_is_passed_on_before_its_end() -> None:
    taken = bytearray()
    answer = MarkedOutput(MARK, taken.extend)

    answer.feed(marked(b"x" * 1000, 0)[:900])

    assert answer.begun
    assert answer.exit_code is None
    assert len(taken) > 800


@pytest.mark.parametrize("said", ["none\n", "1234", "\n", "12345678\n"])
def test_a_mark_without_an_exit_code_is_output(said: str) -> None:
    taken = bytearray()
    answer = MarkedOutput(MARK, taken.extend)

    codes = []
    for text in (f"{MARK}\nabc\n{MARK} {said}", f"x\n{MARK} 7\n"):
        answer.feed(text.encode())
        codes.append(answer.exit_code)

    assert codes == [None, 7]
    assert bytes(taken) == f"abc\n{MARK} {said}x".encode()


def test_a_flood_around_a_marked_output_is_not_kept() -> None:
    answer = MarkedOutput(MARK, lambda data: None)
    for _ in range(100):
        answer.feed(b"x" * 10_000)
    assert len(answer._text) < 100
    answer.feed(f"{MARK}\n".encode())
    for _ in range(100):
        answer.feed(b"x" * 10_000)

    assert len(answer._text) < 100
