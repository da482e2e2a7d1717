"""Build and serve the packages of tests.chaos.packages for runs with real machines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.chaos.packages import BAD, ENDLESS, GOOD, SLOW
from tests.support.deb_repository import build_deb, serving, write_index


@contextmanager
def package_repository(folder: Path, *, address: str) -> Iterator[str]:
    """Yield the URL of the repository. `address` is this host's address for containers."""
    folder.mkdir(parents=True)
    build_deb(folder, GOOD.name)
    build_deb(folder, SLOW.name, scripts={"postinst": "sleep 3"})
    build_deb(folder, BAD.name, scripts={"postinst": "exit 1"})
    build_deb(folder, ENDLESS.name, scripts={"postinst": "[ $1 != configure ] || sleep 86400"})
    write_index(folder)
    with serving(folder, address=address) as url:
        yield url
