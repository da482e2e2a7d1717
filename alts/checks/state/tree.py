"""Paths of a snapshot, resolved by the rules of the kernel. Pure."""

from __future__ import annotations

import posixpath
import stat
from collections.abc import Mapping

from alts.checks.state.snapshot import FileState

_LINKS = 40  # in one path; path_resolution(7), MAXSYMLINKS


class Tree:
    """The files of a snapshot, with symbolic links followed."""

    def __init__(self, files: Mapping[str, FileState]) -> None:
        self._files = files
        self._folders: dict[str, str] = {"/": "/", "//": "/"}
        self._followed = 0
        """The number of nested links that are being followed."""
        self._names: dict[str, list[str]] | None = None

    def place(self, path: str) -> str:
        """Return the path without links in its folders: "/lib/x" is "/usr/lib/x" if /lib is a link to usr/lib.

        The last component is not followed. Missing folders and circular links stay as they are.
        """
        folder, name = posixpath.split(posixpath.normpath(path))
        return posixpath.join(self._folder(folder or "/"), name)

    def end(self, path: str) -> str:
        """Return the path with its last component followed too. No file need exist there."""
        place = self.place(path)
        for _ in range(_LINKS):
            state = self._files.get(place)
            if state is None or state.type != "l":
                return place
            place = self.place(posixpath.join(posixpath.dirname(place), state.target))
        return place

    def has(self, path: str) -> bool:
        """Return whether there is an entry at the path, which may be a link that leads nowhere."""
        return self.place(path) in self._files

    def exists(self, path: str) -> bool:
        """Return whether there is an entry at the end of the path, with links followed."""
        state = self._files.get(self.end(path))
        return state is not None and state.type != "l"

    def target(self, path: str) -> str | None:
        """Return the target of the symbolic link at the path; None if there is no link."""
        state = self._files.get(self.place(path))
        return state.target if state is not None and state.type == "l" else None

    def size(self, path: str) -> int | None:
        """Return the size in bytes of the regular file at the path; None if there is none."""
        state = self._files.get(self.place(path))
        return state.size if state is not None and state.type == "f" else None

    def mode(self, path: str) -> int:
        """Return the permissions of the regular file at the path; 0 if there is none."""
        state = self._files.get(self.place(path))
        return state.mode if state is not None and state.type == "f" else 0

    def named(self, name: str) -> tuple[str, ...]:
        """Return the ends of all files and links with that last component, sorted."""
        if self._names is None:
            self._names = {}
            for path, state in self._files.items():
                if state.type in "fl":
                    self._names.setdefault(posixpath.basename(path), []).append(path)
        return tuple(sorted({self.end(path) for path in self._names.get(name, ())}))

    def anybody_may_write(self, path: str) -> bool:
        """Return whether any user can put a file at the path, because its first existing folder allows it."""
        place = self.end(path)
        while place != "/" and place not in self._files:
            place = posixpath.dirname(place)
        state = self._files.get(place)
        return state is not None and state.type == "d" and bool(state.mode & stat.S_IWOTH)

    def _folder(self, path: str) -> str:
        # From the top down, because a path may be deeper than Python's recursion limit.
        unknown: list[str] = []
        above = path
        while above not in self._folders:
            unknown.append(above)
            above = posixpath.dirname(above) or "/"
        for folder in reversed(unknown):
            # A circular link ends here, at the folder itself, while its end is not known.
            self._folders[folder] = folder
            if self._followed < _LINKS:
                self._followed += 1
                self._folders[folder] = self.end(folder)
                self._followed -= 1
        return self._folders[path]
