"""Many paths in few lines: a folder stands for the files in it. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass
class _Folder:
    """A folder and the listed entries in it."""

    path: str
    files: list[str] = field(default_factory=list)
    folders: dict[str, _Folder] = field(default_factory=dict)
    count: int = 0

    def add(self, words: Sequence[str]) -> None:
        folder = self
        for name in words[:-1]:
            folder.count += 1
            inner = folder.folders.get(name)
            if inner is None:
                inner = folder.folders[name] = _Folder(f"{folder.path}{name}/")
            folder = inner
        folder.count += 1
        folder.files.append(f"{folder.path}{words[-1]}")

    @property
    def line(self) -> str:
        return f"{self.path} ({self.count} files)"


def grouped(paths: Iterable[str], limit: int) -> tuple[str, ...]:
    """Return at most `limit` sorted lines: paths, and folders like "/usr/share/locale/ (45 files)" for the rest.

    The fullest folder is opened first, as long as its entries fit.
    """
    root = _Folder("/")
    for path in paths:
        root.add([word for word in path.split("/") if word] or ["."])
    if not root.count:
        return ()
    lines: list[str] = []
    closed = [(-root.count, root.path, root)]
    while closed:
        _, _, folder = heapq.heappop(closed)
        inside = len(folder.files) + len(folder.folders)
        if inside > 1 and len(lines) + len(closed) + inside > limit:
            lines.append(folder.line)
            continue
        lines.extend(folder.files)
        for inner in folder.folders.values():
            heapq.heappush(closed, (-inner.count, inner.path, inner))
    return tuple(sorted(lines))


def cut(lines: Sequence[str], limit: int) -> tuple[str, ...]:
    """Return at most `limit` lines. If some are left out, the last line has their count."""
    if len(lines) <= limit:
        return tuple(lines)
    return (*lines[: limit - 1], f"... and {len(lines) - limit + 1} more")
