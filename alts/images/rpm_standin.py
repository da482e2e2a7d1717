"""Make the tar of the RPM-native stand-in's root folder in a container, once, and keep it in the cache.

Everything runs in the Docker engine, nothing directly on the host. Debian's own rpm, dnf and createrepo make the RPMs.
"""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from alts.core.instance import Instance
from alts.core.output import OutputSink
from alts.core.resources import resource
from alts.core.stop import Stop, Stopped
from alts.images.archive import packed
from alts.images.recipes import StandinRecipe
from alts.shared.atomic_file import move_into_place
from alts.shared.errors import ImageUnavailable
from alts.shared.models.distributions import DEB_ARCHITECTURES
from alts.shared.models.platform import Platform

BUILD_LABEL = "alts.build"
"""Container label with the recipe's name as value. The holder of the recipe's lock owns these containers."""

_BASE = "12"  # the version of Debian
_BUILD_SECONDS = 900.0  # takes 20 s with a near mirror
_FOLDER = "/alts-build"
_OUTPUT = "/alts-build.tar"


class Builder(Instance, Protocol):
    """Build container interface."""

    def push(self, path: str, archive: bytes) -> None:
        """Unpack a tar into the existing folder `path`."""

    def fetch(self, path: str) -> Iterable[bytes]:
        """Read a file as a one-member tar, in chunks."""


class BuildEngine(Protocol):
    """Engine operations that the builder needs. See alts.runners.docker.engine.Engine."""

    def builder(self, image: str, *, labels: Mapping[str, str], seconds: float) -> AbstractContextManager[Builder]: ...

    def remove_labelled(self, labels: Mapping[str, str]) -> None: ...


def standin_recipe(platform: Platform) -> StandinRecipe:
    folder = resource("images", "rpm-standin")
    return StandinRecipe(
        version=platform.dist_version,
        base=_BASE,
        architecture=DEB_ARCHITECTURES[platform.dist_arch],
        files={
            str(path.relative_to(folder)): path.read_bytes()
            # Files that tools leave beside them (caches of Python and of checkers) are not part of the recipe.
            for path in (folder / "build.sh", folder / "make_spec.py", *sorted((folder / "overlay").rglob("*")))
            if path.is_file()
        },
    )


def build_standin(
    recipe: StandinRecipe, *, base: str, folder: Path, stop: Stop, log: OutputSink, engine: BuildEngine
) -> Path:
    """Return the recipe's tar in the cache folder; build it if missing. The caller holds the recipe's lock.

    `base`: the id of the Debian image. Raises ImageUnavailable, EngineFailed or Stopped; no container stays.
    """
    tar = folder / f"{recipe.name}.tar"
    prefix = f"{recipe.name}.draft-"
    labels = {BUILD_LABEL: recipe.name}
    # We hold the lock, so these drafts are from killed workers.
    for stale in folder.glob(f"{prefix}*"):
        shutil.rmtree(stale)
    engine.remove_labelled(labels)
    if tar.exists():
        return tar
    draft = Path(tempfile.mkdtemp(prefix=prefix, dir=folder))
    try:
        with engine.builder(base, labels=labels, seconds=_BUILD_SECONDS) as builder:
            _build(recipe, builder, draft / "root.tar", stop=stop, log=log)
        # Durable: a truncated image in the cache would fail forever.
        move_into_place(draft / "root.tar", tar, durable=True)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return tar


def _build(recipe: StandinRecipe, builder: Builder, target: Path, *, stop: Stop, log: OutputSink) -> None:
    builder.push("/", packed((f"{_FOLDER}/{path}", content, 0o644) for path, content in sorted(recipe.files.items())))
    limit = stop.within(_BUILD_SECONDS)
    done = builder.run(["sh", f"{_FOLDER}/build.sh", _OUTPUT], stop=limit, sink=log)
    if done.stopped is not None:
        stop.check()
        raise ImageUnavailable(f"{recipe.reference} was not built within {_BUILD_SECONDS:.0f} s", details=done.tail())
    if not done.ok:
        raise ImageUnavailable(f"{recipe.reference} could not be built", details=done.tail())
    _write_member(builder.fetch(_OUTPUT), target, stop=stop)


def _write_member(pieces: Iterable[bytes], target: Path, *, stop: Stop) -> None:
    """Write the single file of a chunked tar to `target`."""
    with tarfile.open(fileobj=_Pieces(pieces, stop), mode="r|") as tar, target.open("wb") as file:  # type: ignore[call-overload]
        for member in tar:
            content = tar.extractfile(member)
            if content is not None:
                shutil.copyfileobj(content, file, 1 << 20)


class _Pieces:
    """Read-only file object over chunks, for tarfile's stream mode. Raises Stopped."""

    def __init__(self, pieces: Iterable[bytes], stop: Stop) -> None:
        self._pieces = iter(pieces)
        self._stop = stop
        self._rest = b""

    def read(self, size: int) -> bytes:
        while len(self._rest) < size:
            if reason := self._stop.reason:
                raise Stopped(reason)
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._rest += piece
        data, self._rest = self._rest[:size], self._rest[size:]
        return data
