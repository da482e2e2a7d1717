"""Write tiny ELF files with arbitrary dependencies, by hand: a test machine may lack a compiler."""

from __future__ import annotations

import struct
from collections.abc import Sequence

# Source: elf(5) and the System V ABI. The program and the loader's path are for x86_64.
_LOADER = b"/lib64/ld-linux-x86-64.so.2\0"
_EXIT_0 = bytes.fromhex("b83c000000 31ff 0f05".replace(" ", ""))  # mov eax, 60; xor edi, edi; syscall
_HEADER, _PROGRAM_HEADER = 64, 56
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP, _PT_PHDR = 1, 2, 3, 6
_DT_NULL, _DT_NEEDED, _DT_HASH, _DT_STRTAB, _DT_SYMTAB = 0, 1, 4, 5, 6
_DT_STRSZ, _DT_SYMENT, _DT_SONAME, _DT_RPATH, _DT_RUNPATH = 10, 11, 14, 15, 29


def elf(
    *, needed: Sequence[str] = (), soname: str | None = None, rpath: str | None = None, runpath: str | None = None
) -> bytes:
    """Return an x86_64 file that the loader accepts: a program that exits with 0, or a library if `soname` is given."""
    strings = b"\0"
    entries: list[tuple[int, int]] = []
    words = [(_DT_NEEDED, name) for name in needed]
    words += [(tag, text) for tag, text in ((_DT_SONAME, soname), (_DT_RPATH, rpath), (_DT_RUNPATH, runpath)) if text]
    for tag, text in words:
        entries.append((tag, len(strings)))
        strings += text.encode() + b"\0"

    interpreted = soname is None
    program_headers = 4 if interpreted else 2
    loader_at = _HEADER + program_headers * _PROGRAM_HEADER
    code_at = loader_at + (len(_LOADER) if interpreted else 0)
    strings_at = code_at + len(_EXIT_0)
    symbols_at = _aligned(strings_at + len(strings))
    hash_at = symbols_at + 24  # one symbol, the undefined symbol
    dynamic_at = _aligned(hash_at + 16)
    entries += [
        (_DT_HASH, hash_at),
        (_DT_STRTAB, strings_at),
        (_DT_SYMTAB, symbols_at),
        (_DT_STRSZ, len(strings)),
        (_DT_SYMENT, 24),
        (_DT_NULL, 0),
    ]
    dynamic = b"".join(struct.pack("<QQ", *entry) for entry in entries)
    size = dynamic_at + len(dynamic)

    headers = [_program_header(_PT_LOAD, 0, size, flags=7, align=0x1000)]
    headers.append(_program_header(_PT_DYNAMIC, dynamic_at, len(dynamic), flags=6, align=8))
    if interpreted:
        # The loader derives a program's load address from PT_PHDR.
        headers.insert(0, _program_header(_PT_PHDR, _HEADER, program_headers * _PROGRAM_HEADER, flags=4, align=8))
        headers.insert(1, _program_header(_PT_INTERP, loader_at, len(_LOADER), flags=4, align=1))
    identity = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = identity + struct.pack(
        "<HHIQQQIHHHHHH", 3, 62, 1, code_at, _HEADER, 0, 0, _HEADER, _PROGRAM_HEADER, program_headers, 64, 0, 0
    )
    body = header + b"".join(headers) + (_LOADER if interpreted else b"") + _EXIT_0 + strings
    body = body.ljust(symbols_at, b"\0") + bytes(24)
    # One bucket, one chain, both empty.
    body += struct.pack("<IIII", 1, 1, 0, 0)
    return body.ljust(dynamic_at, b"\0") + dynamic


def _program_header(kind: int, at: int, size: int, *, flags: int, align: int) -> bytes:
    return struct.pack("<IIQQQQQQ", kind, flags, at, at, at, size, size, align)


def _aligned(offset: int) -> int:
    return (offset + 7) & ~7
