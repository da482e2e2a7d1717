"""The part of an ELF file that tells the dynamic loader what to load. Pure.

A package under test may ship any bytes as an ELF file. The reader reads only the tables that the loader reads, no loop
is longer than the file, and the result has a bound. Tables and numbers are from elf(5) and from the System V ABI's
chapters on object files and on loading.

By hand: pyelftools sets no bound on what it makes of a hostile file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

HEADER_SIZE = 20
"""Bytes at the beginning of a file that tell its kind."""
SMALLEST = 52
"""Bytes of the smallest header, that of a 32-bit file."""

_MAGIC = b"\x7fELF"
_LOADED = (2, 3)  # ET_EXEC, ET_DYN; object files and core dumps are not loaded
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_SHT_DYNAMIC = 6
# Bounds for tags, libraries and texts; the largest programs of a distribution have a twentieth of each.
_MOST_TAGS = 4096
_MOST_NEEDED = 1024
_LONGEST_TEXT = 32_768  # bytes
LONGEST_PATH = 4096
"""Bytes, the kernel's limit (path_resolution(7), PATH_MAX)."""
_DT_NULL, _DT_NEEDED, _DT_STRTAB, _DT_RPATH, _DT_RUNPATH = 0, 1, 5, 15, 29


@dataclass(frozen=True)
class ElfKind:
    """The architecture of an ELF file. A program loads only libraries of the same kind."""

    bits: int
    """32 or 64."""
    machine: int
    """For example 62 for x86_64 (elf(5), e_machine)."""


X86_64, I386, AARCH64 = ElfKind(64, 62), ElfKind(32, 3), ElfKind(64, 183)


@dataclass(frozen=True)
class Elf:
    """The dynamic section of a program or a library; all fields are empty if the file has none."""

    needed: tuple[str, ...] = ()
    rpath: str | None = None
    runpath: str | None = None
    interpreter: str = ""
    """The loader that a program asks for; empty for a library."""

    @property
    def length(self) -> int:
        """Characters in all texts together."""
        return sum(map(len, (*self.needed, self.rpath or "", self.runpath or "", self.interpreter)))


def kind_of(header: bytes) -> ElfKind | None:
    """Return the kind of a file by its first HEADER_SIZE bytes; None if no loader would load it."""
    if len(header) < HEADER_SIZE or not header.startswith(_MAGIC) or header[4] not in (1, 2):
        return None
    kind, machine = struct.unpack_from(f"{_order(header)}HH", header, 16)
    return ElfKind(32 if header[4] == 1 else 64, machine) if kind in _LOADED else None


def read_elf(content: bytes) -> Elf | None:
    """Return the dynamic section of a file.

    None if the content makes no sense, exceeds a bound, or is only debug symbols (objcopy(1), --only-keep-debug).
    """
    if kind_of(content) is None:
        return None
    try:
        return _Reader(content).elf()
    except (struct.error, ValueError):
        return None


def _order(header: bytes) -> str:
    return "<" if header[5] == 1 else ">"


@dataclass(frozen=True)
class _Segment:
    type: int
    offset: int
    address: int
    size: int


class _Reader:
    """Reader of one file. Raises struct.error or ValueError if the content ends early or an offset is outside it."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._order = _order(content)
        self._wide = content[4] == 2
        self._word = "Q" if self._wide else "I"

    def elf(self) -> Elf | None:
        segments = list(self._segments())
        interpreter = next((self._text(one.offset) for one in segments if one.type == _PT_INTERP), "")
        dynamic = next((one for one in segments if one.type == _PT_DYNAMIC), None)
        if dynamic is None:
            return Elf(interpreter=interpreter)
        if not self._has_dynamic_section():
            return None
        tags = list(self._tags(dynamic))
        strings = next((self._offset(value, segments) for tag, value in tags if tag == _DT_STRTAB), None)
        if strings is None:
            return None
        needed = [strings + value for tag, value in tags if tag == _DT_NEEDED]
        if len(needed) > _MOST_NEEDED:
            raise ValueError("needs more than anything does")
        return Elf(
            needed=tuple(self._text(at, longest=LONGEST_PATH) for at in needed),
            rpath=next((self._text(strings + value) for tag, value in tags if tag == _DT_RPATH), None),
            runpath=next((self._text(strings + value) for tag, value in tags if tag == _DT_RUNPATH), None),
            interpreter=interpreter,
        )

    def _segments(self) -> Iterator[_Segment]:
        (at,) = self._read(self._word, 32 if self._wide else 28)
        size, count = self._read("HH", 54 if self._wide else 42)
        for number in range(count):
            if self._wide:
                kind, _, offset, address, _, length = self._read("IIQQQQ", at + number * size)
            else:
                kind, offset, address, _, length = self._read("IIIII", at + number * size)
            yield _Segment(kind, offset, address, length)

    def _has_dynamic_section(self) -> bool:
        """Return False for a file of debug symbols: the section's type says there that the content is elsewhere.

        A file without a section table is not one of these.
        """
        (at,) = self._read(self._word, 40 if self._wide else 32)
        size, count = self._read("HH", 58 if self._wide else 46)
        types = [self._read("I", at + number * size + 4)[0] for number in range(count)] if at else []
        return not types or _SHT_DYNAMIC in types

    def _tags(self, segment: _Segment) -> Iterator[tuple[int, int]]:
        step = 16 if self._wide else 8
        for number, at in enumerate(
            range(segment.offset, min(segment.offset + segment.size, len(self._content)), step)
        ):
            if number == _MOST_TAGS:
                raise ValueError("more tags than anything has")
            tag, value = self._read(self._word * 2, at)
            if tag == _DT_NULL:
                return
            yield tag, value

    def _offset(self, address: int, segments: list[_Segment]) -> int | None:
        """Return the offset in the file of an address in memory; None if no loaded segment has it."""
        for one in segments:
            if one.type == _PT_LOAD and one.address <= address < one.address + one.size:
                return address - one.address + one.offset
        return None

    def _read(self, layout: str, at: int) -> tuple[int, ...]:
        if at > len(self._content):
            raise ValueError("beside the file")
        return struct.unpack_from(self._order + layout, self._content, at)

    def _text(self, at: int, *, longest: int = _LONGEST_TEXT) -> str:
        return text_at(self._content, at, longest=longest)


def text_at(content: bytes, at: int, *, longest: int) -> str:
    """Return the zero-terminated text at offset `at`. Raises ValueError without a zero in `longest` bytes."""
    return content[at : content.index(b"\0", at, at + longest)].decode(errors="backslashreplace")
