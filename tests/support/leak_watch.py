"""Looks for secrets where they must not be: in the process list, in files, in what the service says."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.tree import below

LARGEST_FILE = 20_000_000  # bytes; a base image holds no secret of ours


class LeakWatch:
    """Knows the secrets by name, and notes as "name in place" where it has seen one."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._secrets = {name: value.encode() for name, value in secrets.items()}
        self.leaks: set[str] = set()
        self.looked_at: dict[str, int] = {}
        """How many texts of each kind were searched, so that a test can say that there were some."""

    def search(self, kind: str, place: str, content: bytes | str) -> None:
        data = content.encode() if isinstance(content, str) else content
        self.looked_at[kind] = self.looked_at.get(kind, 0) + 1
        self.leaks |= {f"{name} in {kind} {place}" for name, value in self._secrets.items() if value in data}

    def search_files(self, kind: str, folder: Path, *, but: Iterable[Path] = ()) -> None:
        """All that is below the folder; what goes away meanwhile is no matter."""
        spared = {path.resolve() for path in but}
        for path in below(folder):
            with suppress(OSError):
                if path.is_file() and path.resolve() not in spared and path.stat().st_size <= LARGEST_FILE:
                    self.search(kind, str(path), path.read_bytes())

    @contextmanager
    def watching(self, folder: Path, *, holders: Iterable[str]) -> Iterator[None]:
        """Look at every process's arguments and environment, and below the folder, again and again.

        `holders`: words in the command line, or environment, of the servers that must have a secret to compare with.
        """
        done = threading.Event()
        words = [word.encode() for word in holders]

        def look() -> None:
            while not done.wait(0.2):
                self._look_at_processes(words)
                self.search_files("work folder", folder)

        with ThreadPoolExecutor(1) as pool:
            watch = pool.submit(look)
            try:
                yield
            finally:
                done.set()
            # A watch that broke off has seen nothing since.
            watch.result(30)

    def _look_at_processes(self, holders: Iterable[bytes]) -> None:
        for process in Path("/proc").glob("[0-9]*"):
            # It may end while we look.
            with suppress(OSError):
                arguments, environment = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
                if not any(word in arguments or word in environment for word in holders):
                    shown = arguments.replace(b"\0", b" ").decode(errors="replace")[:200]
                    self.search("arguments", shown, arguments)
                    self.search("environment", shown, environment)
