"""The first bytes of many files with one command. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def headers_argv(paths: Sequence[str], size: int) -> Sequence[str]:
    """Prints `size` bytes of every file below a line with its name; complains of those that cannot be read."""
    # What is missing makes head(1) fail in the end, and is nothing to fail for.
    return ("/bin/sh", "-c", 'size=$1; shift; head -v -c "$size" -- "$@" 2>/dev/null || :', "sh", str(size), *paths)


def first_bytes(paths: Sequence[str], content: bytes) -> Iterator[tuple[str, bytes]]:
    """Each path that could be read, and its first bytes."""
    at = 0
    for path in paths:
        title = f"==> {path} <==\n".encode(errors="surrogateescape")
        # Between two files there is an empty line.
        start = at + 1 if at and content[at : at + 1] == b"\n" else at
        if not content.startswith(title, start):
            continue
        start += len(title)
        end = content.find(b"\n==> ", start)
        at = end if end >= 0 else len(content)
        yield path, content[start:at]
