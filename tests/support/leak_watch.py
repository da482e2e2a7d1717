"""Search for secrets in the wrong places: the process list, files, answers of the service."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.tree import below

LARGEST_FILE = 20_000_000  # bytes; no base image contains one of our secrets


class LeakWatch:
    """Knows the secrets by name, and records each find as "name in place"."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._secrets = {name: value.encode() for name, value in secrets.items()}
        self.leaks: set[str] = set()
        self.looked_at: dict[str, int] = {}
        """Number of searched texts by kind, so that a test can check that there were some."""

    def search(self, kind: str, place: str, content: bytes | str) -> None:
        data = content.encode() if isinstance(content, str) else content
        self.looked_at[kind] = self.looked_at.get(kind, 0) + 1
        self.leaks |= {f"{name} in {kind} {place}" for name, value in self._secrets.items() if value in data}

    def search_files(self, kind: str, folder: Path, *, but: Iterable[Path] = ()) -> None:
        """Search everything below the folder. Files that disappear meanwhile are ignored."""
        spared = {path.resolve() for path in but}
        for path in below(folder):
            with suppress(OSError):
                if path.is_file() and path.resolve() not in spared and path.stat().st_size <= LARGEST_FILE:
                    self.search(kind, str(path), path.read_bytes())

    @contextmanager
    def watching(self, folder: Path, *, holders: Iterable[str]) -> Iterator[None]:
        """Search every process's arguments and environment, and the folder, repeatedly.

        `holders` are words in the command line or environment of servers that must hold a secret for comparison.
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
            # A watch that broke off has missed everything since.
            watch.result(30)

    def _look_at_processes(self, holders: Iterable[bytes]) -> None:
        for process in Path("/proc").glob("[0-9]*"):
            # The process may end during the search.
            with suppress(OSError):
                arguments, environment = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
                if not any(word in arguments or word in environment for word in holders):
                    shown = arguments.replace(b"\0", b" ").decode(errors="replace")[:200]
                    self.search("arguments", shown, arguments)
                    self.search("environment", shown, environment)
