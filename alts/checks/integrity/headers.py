"""The first bytes of many files, printed by one command. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def headers_argv(paths: Sequence[str], size: int) -> Sequence[str]:
    """Return the command that prints a line with the name and the first `size` bytes of each file that can be read."""
    # head(1) fails in the end if a file is missing, although it prints the others.
    return ("/bin/sh", "-c", 'size=$1; shift; head -v -c "$size" -- "$@" 2>/dev/null || :', "sh", str(size), *paths)


def first_bytes(paths: Sequence[str], content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield each path that could be read, with its first bytes. `content` is the output of headers_argv(paths)."""
    at = 0
    for path in paths:
        title = f"==> {path} <==\n".encode(errors="surrogateescape")
        # head(1) separates two files by an empty line.
        start = at + 1 if at and content[at : at + 1] == b"\n" else at
        if not content.startswith(title, start):
            continue
        start += len(title)
        end = content.find(b"\n==> ", start)
        at = end if end >= 0 else len(content)
        yield path, content[start:at]
