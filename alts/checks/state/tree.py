"""Paths of a snapshot as the kernel would walk them. Pure."""

from __future__ import annotations

import posixpath
import stat
from collections.abc import Mapping

from alts.checks.state.snapshot import FileState

_LINKS = 40  # in one path; path_resolution(7), MAXSYMLINKS


class Tree:
    """Follows the symbolic links of a snapshot."""

    def __init__(self, files: Mapping[str, FileState]) -> None:
        self._files = files
        self._folders: dict[str, str] = {"/": "/", "//": "/"}
        self._followed = 0
        """How many links lead to each other just now."""
        self._names: dict[str, list[str]] | None = None

    def place(self, path: str) -> str:
        """Where the entry really lies: "/lib/x" is "/usr/lib/x" where /lib is a link to usr/lib.

        Links in the folders above are followed, the last word is taken as it stands. What does not exist stays as it
        is, and so does what goes round in circles.
        """
        folder, name = posixpath.split(posixpath.normpath(path))
        return posixpath.join(self._folder(folder or "/"), name)

    def end(self, path: str) -> str:
        """Where the path leads when its last word is followed too; it need not exist."""
        place = self.place(path)
        for _ in range(_LINKS):
            state = self._files.get(place)
            if state is None or state.type != "l":
                return place
            place = self.place(posixpath.join(posixpath.dirname(place), state.target))
        return place

    def has(self, path: str) -> bool:
        """Whether there is anything at the path, be it a link that leads nowhere."""
        return self.place(path) in self._files

    def exists(self, path: str) -> bool:
        """Whether there is anything but a link at the end of the path."""
        state = self._files.get(self.end(path))
        return state is not None and state.type != "l"

    def target(self, path: str) -> str | None:
        """Of the symbolic link at the path; None where there is none."""
        state = self._files.get(self.place(path))
        return state.target if state is not None and state.type == "l" else None

    def size(self, path: str) -> int | None:
        """In bytes, of the file at the path; None where there is none, or something else."""
        state = self._files.get(self.place(path))
        return state.size if state is not None and state.type == "f" else None

    def mode(self, path: str) -> int:
        """The permissions of the file at the path; 0 where there is none, or something else."""
        state = self._files.get(self.place(path))
        return state.mode if state is not None and state.type == "f" else 0

    def named(self, name: str) -> tuple[str, ...]:
        """The ends of all paths with that last word, sorted."""
        if self._names is None:
            self._names = {}
            for path, state in self._files.items():
                if state.type in "fl":
                    self._names.setdefault(posixpath.basename(path), []).append(path)
        return tuple(sorted({self.end(path) for path in self._names.get(name, ())}))

    def anybody_may_write(self, path: str) -> bool:
        """Whether any user could put a file at the path, in a folder that is there or is yet to be made."""
        place = self.end(path)
        while place != "/" and place not in self._files:
            place = posixpath.dirname(place)
        state = self._files.get(place)
        return state is not None and state.type == "d" and bool(state.mode & stat.S_IWOTH)

    def _folder(self, path: str) -> str:
        # From the top down: a path may be deeper than Python can call.
        unknown: list[str] = []
        above = path
        while above not in self._folders:
            unknown.append(above)
            above = posixpath.dirname(above) or "/"
        for folder in reversed(unknown):
            # For as long as it is not known, a circle ends here.
            self._folders[folder] = folder
            if self._followed < _LINKS:
                self._followed += 1
                self._folders[folder] = self.end(folder)
                self._followed -= 1
        return self._folders[path]
