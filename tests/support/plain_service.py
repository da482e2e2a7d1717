"""The embedded stack with plain machines and a small Debian archive, for tests of what happens inside a machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tests.support.embedded import EmbeddedService
from tests.support.mirror import mirror
from tests.support.plain_runner import plain_runner
from tests.support.small_archive import machine_files, small_archive


@contextmanager
def plain_service(folder: Path, *, wanted: Iterable[str] = (), **changes: Any) -> Iterator[EmbeddedService]:
    """Serve, with folders below `folder`. Debian has the wanted packages and their dependencies, and no others.

    `changes`: of the configuration.
    """
    with small_archive(wanted) as archive, mirror(folder, archive) as debian:
        registry = {"docker": partial(plain_runner, apt_files=machine_files(archive, debian.url))}
        with EmbeddedService(folder, registry=registry, **changes) as service:
            yield service
