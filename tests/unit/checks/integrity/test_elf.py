"""ELF files are read as the loader reads them."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alts.checks.integrity.elf import AARCH64, I386, X86_64, Elf, ElfKind, kind_of, read_elf
from alts.checks.integrity.headers import first_bytes, headers_argv
from alts.checks.integrity.loader_cache import read_loader_cache
from tests.corpus.elf import elf

PROGRAM = elf(needed=["liba.so.1", "libc.so.6"], runpath="$ORIGIN/../lib")


def test_what_a_program_asks_for_is_read() -> None:
    assert read_elf(PROGRAM) == Elf(
        needed=("liba.so.1", "libc.so.6"), runpath="$ORIGIN/../lib", interpreter="/lib64/ld-linux-x86-64.so.2"
    )


def test_a_library_asks_for_no_loader() -> None:
    assert read_elf(elf(soname="liba.so.1", rpath="/opt/a")) == Elf(rpath="/opt/a")


def test_a_program_for_another_machine_is_of_another_kind() -> None:
    assert kind_of(PROGRAM) == X86_64
    assert kind_of(PROGRAM[:18] + struct.pack("<H", 183) + PROGRAM[20:]) == AARCH64
    assert kind_of(b"\x7fELF\x01\x01\x01" + bytes(9) + struct.pack("<HH", 2, 3)) == I386
    assert kind_of(b"\x7fELF\x02\x02\x01" + bytes(9) + struct.pack(">HH", 3, 22)) == ElfKind(64, 22)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"#!/bin/sh\n" * 10,
        PROGRAM[:19],
        # An object file, e.g. a kernel module.
        PROGRAM[:16] + struct.pack("<H", 1) + PROGRAM[18:],
    ],
)
def test_what_no_loader_loads_has_no_kind(content: bytes) -> None:
    assert kind_of(content) is None
    assert read_elf(content) is None


def test_a_file_of_symbols_asks_for_nothing() -> None:
    # One section whose content is elsewhere: SHT_NOBITS.
    sections = bytearray(PROGRAM + struct.pack("<II", 0, 8) + bytes(56))
    sections[40:48] = struct.pack("<Q", len(PROGRAM))
    sections[60:62] = struct.pack("<H", 1)

    assert read_elf(bytes(sections)) is None


@pytest.mark.parametrize("size", [20, 63, 64, 130, len(PROGRAM) - 8])
def test_half_a_file_is_no_reason_to_stop(size: int) -> None:
    assert read_elf(PROGRAM[:size]) in (None, Elf(), Elf(interpreter="/lib64/ld-linux-x86-64.so.2"))


@given(st.lists(st.tuples(st.integers(4, len(PROGRAM) - 1), st.integers(0, 255)), max_size=40))
def test_no_file_breaks_the_reader(changes: list[tuple[int, int]]) -> None:
    content = bytearray(PROGRAM)
    for at, value in changes:
        content[at] = value

    read_elf(bytes(content))


def test_no_file_makes_the_reader_hold_more_than_it_has_itself() -> None:
    # Each name is the rest of the file's one text, which is a megabyte long.
    greedy = elf(needed=[str(number) for number in range(1000)], runpath="x" * 1_000_000).replace(b"\0" + b"1", b"11")
    assert read_elf(greedy) is None
    assert read_elf(elf(needed=[str(number) for number in range(1025)])) is None

    assert read_elf(elf(runpath="x" * 40_000)) is None
    assert read_elf(elf(runpath="x" * 30_000)) is not None


def test_the_beginnings_of_many_files_come_from_one_output() -> None:
    paths = ["/bin/a", "/bin/gone", "/bin/b", "/lib/c"]
    content = (
        b"==> /bin/a <==\n" + PROGRAM[:20] + b"\n==> /bin/b <==\n#!/bin/sh\n12345678\n\n==> /lib/c <==\n" + PROGRAM[:20]
    )

    assert dict(first_bytes(paths, content)) == {
        "/bin/a": PROGRAM[:20],
        "/bin/b": b"#!/bin/sh\n12345678\n",
        "/lib/c": PROGRAM[:20],
    }
    assert list(headers_argv(paths, 20))[-5:] == ["20", *paths]


def test_the_loader_s_cache_tells_a_path_for_a_name_and_a_kind() -> None:
    strings = b"liba.so.1\0/opt/a/liba.so.1\0/opt/a32/liba.so.1\0"
    start = 48 + 2 * 24
    entries = struct.pack("<iIIIQ", 0x0303, start, start + 10, 0, 0) + struct.pack("<iIIIQ", 3, start, start + 27, 0, 0)
    cache = struct.pack("<20sII20x", b"glibc-ld.so.cache1.1", 2, len(strings)) + entries + strings

    expected = {("liba.so.1", X86_64): "/opt/a/liba.so.1", ("liba.so.1", I386): "/opt/a32/liba.so.1"}
    assert read_loader_cache(cache) == expected
    # The old format may stand before it.
    assert read_loader_cache(b"ld.so-1.7.0\0" + bytes(4) + cache) == expected
    assert read_loader_cache(cache[:-20]) == {}
    assert read_loader_cache(b"nonsense") == {}


def test_a_cache_that_names_more_than_any_is_none() -> None:
    def cache(*, entries: int, name: bytes) -> bytes:
        at = 48 + entries * 24
        entry = struct.pack("<iIIIQ", 0x0303, at, at, 0, 0)
        return struct.pack("<20sII20x", b"glibc-ld.so.cache1.1", entries, len(name)) + entry * entries + name

    assert read_loader_cache(cache(entries=10, name=b"liba.so.1\0"))
    assert read_loader_cache(cache(entries=10, name=b"x" * 5000 + b"\0")) == {}
    assert read_loader_cache(cache(entries=10_000, name=b"x" * 4000 + b"\0")) == {}
    assert read_loader_cache(cache(entries=60_000, name=b"x\0")) == {}
