"""ld.so.cache: the library that the dynamic loader takes for a name. Pure.

The format is struct cache_file_new of glibc (sysdeps/generic/dl-cache.h). A cache in the old format, which may precede
it in the file, is ignored.

By hand: pyelftools does not read this file.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from alts.checks.integrity.elf import AARCH64, I386, LONGEST_PATH, X86_64, ElfKind, text_at

CACHE_PATH = "/etc/ld.so.cache"

# Far more than any machine has. They bound the memory that a cache can take.
_MOST_ENTRIES = 50_000
_MOST_TEXT = 16_000_000  # characters

_MAGIC = b"glibc-ld.so.cache1.1"
_HEADER = struct.Struct("<20sII20x")
_ENTRY = struct.Struct("<iIIIQ")
# FLAG_X8664_LIB64 and its siblings in dl-cache.h; i386 has no flag.
_ARCHITECTURE = 0xFF00
_KINDS = {0x0300: X86_64, 0x0A00: AARCH64, 0x0000: I386}


def read_loader_cache(content: bytes) -> Mapping[tuple[str, ElfKind], str]:
    """Return (name, kind) → path for the known kinds; empty if the content is no such cache or exceeds a bound."""
    start = content.find(_MAGIC)
    if start < 0:
        return {}
    content = content[start:]
    found: dict[tuple[str, ElfKind], str] = {}
    length = 0
    try:
        _, count, _ = _HEADER.unpack_from(content)
        if count > _MOST_ENTRIES:
            return {}
        for number in range(count):
            flags, key, value, _, _ = _ENTRY.unpack_from(content, _HEADER.size + number * _ENTRY.size)
            if kind := _KINDS.get(flags & _ARCHITECTURE):
                name, path = (text_at(content, at, longest=LONGEST_PATH) for at in (key, value))
                # The first entry of a name is the library for every processor, or a better one.
                found.setdefault((name, kind), path)
                length += len(name) + len(path)
                if length > _MOST_TEXT:
                    return {}
    except (struct.error, ValueError):
        return {}
    return found
