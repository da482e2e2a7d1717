"""Find or make the base image for a task: whatever is in the engine first, then a registry, then a mirror."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from alts.command import OutputSink
from alts.distributions import DEB_ARCHITECTURES, Family
from alts.images.archive import docker_archive
from alts.images.host_lock import host_lock
from alts.images.pull_memory import PullMemory
from alts.images.recipe import Recipe, recipes_for
from alts.resources import resource
from alts.shared.errors import ImageUnavailable, InfrastructureError
from alts.shared.spec import TaskSpec
from alts.stop import Stop, Stopped

_ANSWER_SECONDS = 15.0  # in which a registry says its first word, or is taken for away

# dpkg's word → Docker's, as in an image's configuration.
_DOCKER_ARCHITECTURES: Mapping[str, str] = {"amd64": "amd64", "i386": "386", "arm64": "arm64"}

_FINISHERS: Mapping[Family, tuple[str, ...]] = {Family.DEB: ("images", "debian.sh")}


@dataclass(frozen=True)
class Image:
    """A base image in the engine."""

    reference: str
    """Such as "debian:12" or "alts/debian:12-amd64-0123456789ab"."""
    id: str
    origin: str
    """How it came to be there: "local", "pulled" or "bootstrapped"."""


class FoundImage(Protocol):
    """What the engine says of an image."""

    @property
    def id(self) -> str: ...

    @property
    def architecture(self) -> str: ...


class ImageEngine(Protocol):
    """What the resolver needs of an engine; alts.tools.docker.Engine has the words."""

    def image(self, reference: str) -> FoundImage | None: ...

    def pull(self, reference: str, *, platform: str, stop: Stop, log: OutputSink, answer_within: float) -> None: ...

    def load(self, archive: Iterable[bytes], *, stop: Stop) -> None: ...

    def tag(self, image: str, reference: str) -> None: ...


class Bootstrap(Protocol):
    """Makes the tar of a recipe, or finds it in the cache folder; see alts.images.bootstrap."""

    def __call__(self, recipe: Recipe, *, folder: Path, stop: Stop, log: OutputSink) -> Path: ...


@dataclass(frozen=True)
class _Wanted:
    """The image of one task, by all the names that it may have."""

    official: str
    ours: str
    """Under which a pulled one of a foreign architecture is kept."""
    architecture: str
    """In Docker's words."""
    recipes: Sequence[Recipe]

    @property
    def file_name(self) -> str:
        """The official name as a file may be called."""
        return "".join(letter if letter.isalnum() or letter in ".-" else "-" for letter in self.official)

    @property
    def names(self) -> Iterable[tuple[str, str]]:
        """Name and origin, the preferred one first."""
        yield self.official, "local"
        yield self.ours, "pulled"
        for recipe in self.recipes:
            yield recipe.reference, "bootstrapped"


class ImageResolver:
    """Base images, for the threads of a worker and for all workers that share its cache folder and its engine."""

    def __init__(
        self,
        engine: ImageEngine,
        *,
        cache_folder: Path,
        mirrors: Mapping[str, str],
        pull_timeout: float | None,
        bootstrap: Bootstrap | None,
    ) -> None:
        """`pull_timeout`: seconds that a pull may take, None not to pull; `bootstrap`: None not to bootstrap."""
        self._engine = engine
        self._folder = cache_folder.absolute()
        self._mirrors = mirrors
        self._pull_timeout = pull_timeout
        self._bootstrap = bootstrap
        self._memory = PullMemory(self._folder)

    def resolve(self, spec: TaskSpec, *, stop: Stop, log: OutputSink) -> Image:
        """The image to test on. One task at a time makes a missing one, the others wait for it.

        Raises ImageUnavailable, with what was tried in `details`, EngineFailed or Stopped.
        """
        wanted = self._wanted(spec)
        if image := self._find(wanted):
            return image
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            # By the official name alone: pulling one architecture moves that name away from another.
            with host_lock(self._folder / f"{wanted.file_name}.lock", stop):
                # Made by somebody while we waited?
                return self._find(wanted) or self._get(wanted, stop=stop, log=log)
        except OSError as error:
            raise ImageUnavailable(f"the cache folder {self._folder} cannot be used", details=str(error)) from error

    def _wanted(self, spec: TaskSpec) -> _Wanted:
        dpkg = DEB_ARCHITECTURES[spec.dist_arch]
        finish = resource(*_FINISHERS[spec.family]).read_text(encoding="utf-8")
        return _Wanted(
            official=spec.release.image,
            ours=f"alts/{spec.dist_name}:{spec.dist_version}-{dpkg}-pulled",
            architecture=_DOCKER_ARCHITECTURES[dpkg],
            recipes=recipes_for(spec, mirrors=self._mirrors, finish=finish),
        )

    def _find(self, wanted: _Wanted) -> Image | None:
        for reference, origin in wanted.names:
            found = self._engine.image(reference)
            if found is not None and found.architecture == wanted.architecture:
                return Image(reference=reference, id=found.id, origin=origin)
        return None

    def _get(self, wanted: _Wanted, *, stop: Stop, log: OutputSink) -> Image:
        reasons: list[str] = []
        ways = [
            partial(self._pull, wanted),
            *(partial(self._make, recipe, wanted.architecture) for recipe in wanted.recipes),
        ]
        for way in ways:
            try:
                return way(stop=stop, log=log)
            except InfrastructureError as error:
                reasons.append(f"{error}: {error.details}" if error.details else str(error))
                log(f"{reasons[-1].splitlines()[0]}\n")
        raise ImageUnavailable(
            f"{wanted.official} for {wanted.architecture} could be neither pulled nor bootstrapped",
            details="\n".join(reasons),
        )

    def _pull(self, wanted: _Wanted, *, stop: Stop, log: OutputSink) -> Image:
        if self._pull_timeout is None:
            raise ImageUnavailable("pulling is switched off", resolution="image_pull: true")
        memory_name = f"{wanted.file_name}-{wanted.architecture}"
        if reason := self._memory.failure(memory_name):
            raise ImageUnavailable(f"{wanted.official} is not pulled again so soon", details=reason)
        before = self._engine.image(wanted.official)
        try:
            self._fetch(wanted, seconds=self._pull_timeout, stop=stop, log=log)
            pulled = self._engine.image(wanted.official)
            if pulled is None or pulled.architecture != wanted.architecture:
                raise ImageUnavailable(f"the registry has no {wanted.official} for {wanted.architecture}")
            if before is not None:
                self._engine.tag(pulled.id, wanted.ours)
        except InfrastructureError as error:
            self._memory.remember(memory_name, f"{error}: {error.details}" if error.details else str(error))
            raise
        finally:
            # An engine knows one architecture by a name: give it back to the one that had it.
            if before is not None:
                self._engine.tag(before.id, wanted.official)
        reference = wanted.official if before is None else wanted.ours
        return Image(reference=reference, id=pulled.id, origin="pulled")

    def _fetch(self, wanted: _Wanted, *, seconds: float, stop: Stop, log: OutputSink) -> None:
        try:
            self._engine.pull(
                wanted.official,
                platform=f"linux/{wanted.architecture}",
                stop=stop.within(seconds),
                log=log,
                answer_within=_ANSWER_SECONDS,
            )
        except Stopped:
            stop.check()
            raise ImageUnavailable(f"pulling {wanted.official} took over {seconds:.0f} s") from None

    def _make(self, recipe: Recipe, architecture: str, *, stop: Stop, log: OutputSink) -> Image:
        if self._bootstrap is None:
            raise ImageUnavailable("bootstrapping is switched off", resolution="image_bootstrap: true")
        log(f"making {recipe.reference} of {recipe.suites}\n")
        tar = self._bootstrap(recipe, folder=self._folder, stop=stop, log=log)
        self._engine.load(docker_archive(tar, reference=recipe.reference, architecture=architecture), stop=stop)
        found = self._engine.image(recipe.reference)
        if found is None:
            raise ImageUnavailable(f"the engine has lost {recipe.reference} right after it was loaded")
        return Image(reference=recipe.reference, id=found.id, origin="bootstrapped")
