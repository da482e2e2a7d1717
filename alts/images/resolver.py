"""Base image resolver: looks in the engine first, then pulls from a registry, then bootstraps from a mirror."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from alts.core.output import OutputSink
from alts.core.resources import resource
from alts.core.stop import Stop, Stopped
from alts.host.host_lock import host_lock
from alts.images.archive import docker_archive
from alts.images.pull_failures import PullMemory
from alts.images.recipes import KEYRINGS, STANDIN, AnyRecipe, Recipe, StandinRecipe, recipes_for
from alts.images.rpm_standin import standin_recipe
from alts.shared.errors import ImageUnavailable, InfrastructureError
from alts.shared.models.distributions import DEB_ARCHITECTURES
from alts.shared.models.platform import Platform

_ANSWER_SECONDS = 15.0  # in which a registry says its first word, or is taken for away

# dpkg's word → Docker's, as in an image's configuration.
_DOCKER_ARCHITECTURES: Mapping[str, str] = {"amd64": "amd64", "i386": "386", "arm64": "arm64"}

_KEYRING_FOLDER = Path("/usr/share/keyrings")


@dataclass(frozen=True)
class Image:
    """A base image in the engine."""

    reference: str
    """E.g. "debian:12" or "alts/debian:12-amd64-0123456789ab"."""
    id: str
    origin: str
    """How it came to be there: "local", "pulled" or "bootstrapped"."""
    architecture: str = "amd64"
    """In Docker's words: "amd64", "386", "arm64"."""


class FoundImage(Protocol):
    """Image data from the engine."""

    @property
    def id(self) -> str: ...

    @property
    def architecture(self) -> str: ...


class ImageEngine(Protocol):
    """Engine interface for the resolver; documented in alts.runners.docker.engine.Engine."""

    def image(self, reference: str) -> FoundImage | None: ...

    def pull(self, reference: str, *, platform: str, stop: Stop, log: OutputSink, answer_within: float) -> None: ...

    def load(self, archive: Iterable[bytes], *, stop: Stop) -> None: ...

    def tag(self, image: str, reference: str) -> None: ...


class Bootstrap(Protocol):
    """Builds the tar of a recipe or finds it in the cache folder; see alts.images.bootstrap."""

    def __call__(self, recipe: Recipe, *, folder: Path, stop: Stop, log: OutputSink) -> Path: ...


class BuildStandin(Protocol):
    """Makes the tar of the stand-in from the image with that id, or finds it in the cache folder.

    See alts.images.rpm_standin.
    """

    def __call__(self, recipe: StandinRecipe, *, base: str, folder: Path, stop: Stop, log: OutputSink) -> Path: ...


@dataclass(frozen=True)
class _Wanted:
    """The image of one task with all its possible names."""

    official: str
    ours: str
    """Tag for a pulled image whose official name another architecture holds."""
    architecture: str
    """In Docker's words."""
    recipes: Sequence[AnyRecipe]
    no_recipe: str
    """Why there is no recipe; else empty."""

    @property
    def file_name(self) -> str:
        """The official or the first recipe's name, made safe as a file name."""
        name = self.official or self.recipes[0].name
        return "".join(letter if letter.isalnum() or letter in ".-" else "-" for letter in name)

    @property
    def names(self) -> Iterable[tuple[str, str]]:
        """Pairs of name and origin, preferred first."""
        if self.official:
            yield self.official, "local"
            yield self.ours, "pulled"
        for recipe in self.recipes:
            yield recipe.reference, "bootstrapped"


def _has_keyring(name: str) -> bool:
    return (_KEYRING_FOLDER / name).exists()


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
        build_standin: BuildStandin | None = None,
        has_keyring: Callable[[str], bool] = _has_keyring,
    ) -> None:
        """`pull_timeout`: seconds that a pull may take, None not to pull; `bootstrap`: None not to bootstrap.

        `has_keyring`: whether a file with an archive's keys is on this host, without which nothing of it is verified.
        """
        self._engine = engine
        self._folder = cache_folder.absolute()
        self._mirrors = mirrors
        self._pull_timeout = pull_timeout
        self._bootstrap = bootstrap
        self._build_standin = build_standin
        self._has_keyring = has_keyring
        self._memory = PullMemory(self._folder)

    def resolve(self, platform: Platform, *, stop: Stop, log: OutputSink) -> Image:
        """The image to test on. One task at a time makes a missing one, the others wait for it.

        Raises ImageUnavailable, with what was tried in `details`, EngineFailed or Stopped.
        """
        wanted = self._wanted(platform)
        if image := self._find(wanted):
            return image
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            # By the official name alone: pulling one architecture moves that name away from another.
            with host_lock(self._folder / f"{wanted.file_name}.lock", stop):
                # Another task may have made it meanwhile.
                return self._find(wanted) or self._get(wanted, stop=stop, log=log)
        except OSError as error:
            raise ImageUnavailable(f"the cache folder {self._folder} cannot be used", details=str(error)) from error

    def _wanted(self, platform: Platform) -> _Wanted:
        dpkg = DEB_ARCHITECTURES[platform.dist_arch]
        recipes, no_recipe = self._recipes(platform)
        return _Wanted(
            official=platform.release.image,
            ours=f"alts/{platform.dist_name}:{platform.dist_version}-{dpkg}-pulled",
            architecture=_DOCKER_ARCHITECTURES[dpkg],
            recipes=recipes,
            no_recipe=no_recipe,
        )

    def _recipes(self, platform: Platform) -> tuple[Sequence[AnyRecipe], str]:
        """Return the recipes for the image, or the reason why there are none."""
        if platform.dist_name == STANDIN:
            return (standin_recipe(platform),), ""
        keyring = KEYRINGS.get(platform.dist_name)
        if keyring is None:
            return (), f"no image of {platform.dist_name} can be made here: its image can only be pulled"
        if not self._has_keyring(keyring):
            package = keyring.removesuffix(".gpg").replace("ubuntu-archive", "ubuntu")
            return (), (
                f"{_KEYRING_FOLDER / keyring} is not on this host, so packages of {platform.dist_name} cannot "
                f"be verified: the image can only be pulled (or run: apt-get install {package})"
            )
        finish = resource("images", "debian.sh").read_text(encoding="utf-8")
        return recipes_for(platform, mirrors=self._mirrors, finish=finish), ""

    def _find(self, wanted: _Wanted) -> Image | None:
        for reference, origin in wanted.names:
            found = self._engine.image(reference)
            if found is not None and found.architecture == wanted.architecture:
                return Image(reference, found.id, origin, wanted.architecture)
        return None

    def _get(self, wanted: _Wanted, *, stop: Stop, log: OutputSink) -> Image:
        reasons: list[str] = []
        ways = [
            *([partial(self._pull, wanted)] if wanted.official else []),
            *(partial(self._make, recipe, wanted.architecture) for recipe in wanted.recipes),
        ]
        for way in ways:
            try:
                return way(stop=stop, log=log)
            except InfrastructureError as error:
                reasons.append(f"{error}: {error.details}" if error.details else str(error))
                log(f"{reasons[-1].splitlines()[0]}\n")
        if wanted.no_recipe:
            reasons.append(wanted.no_recipe)
        raise ImageUnavailable(
            f"{wanted.official or wanted.recipes[0].reference} for {wanted.architecture} could be neither pulled nor "
            "bootstrapped",
            details="\n".join(reasons),
        )

    def _pull(self, wanted: _Wanted, *, stop: Stop, log: OutputSink) -> Image:
        if self._pull_timeout is None:
            raise ImageUnavailable("pulling is switched off", resolution="set image_pull: true")
        memory_name = f"{wanted.file_name}-{wanted.architecture}"
        if reason := self._memory.failure(memory_name):
            raise ImageUnavailable(
                f"the last pull of {wanted.official} failed, and it is too early to try again", details=reason
            )
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
            # The engine keeps one architecture per name: restore the previous one.
            if before is not None:
                self._engine.tag(before.id, wanted.official)
        reference = wanted.official if before is None else wanted.ours
        return Image(reference, pulled.id, "pulled", wanted.architecture)

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

    def _make(self, recipe: AnyRecipe, architecture: str, *, stop: Stop, log: OutputSink) -> Image:
        if self._bootstrap is None:
            raise ImageUnavailable("bootstrapping is switched off", resolution="set image_bootstrap: true")
        log(f"making {recipe.reference} of {recipe.suites}\n")
        tar = self._tar(recipe, self._bootstrap, stop=stop, log=log)
        self._engine.load(docker_archive(tar, reference=recipe.reference, architecture=architecture), stop=stop)
        found = self._engine.image(recipe.reference)
        if found is None:
            raise ImageUnavailable(f"the Docker engine does not have {recipe.reference} right after loading it")
        return Image(recipe.reference, found.id, "bootstrapped", architecture)

    def _tar(self, recipe: AnyRecipe, bootstrap: Bootstrap, *, stop: Stop, log: OutputSink) -> Path:
        if isinstance(recipe, Recipe):
            return bootstrap(recipe, folder=self._folder, stop=stop, log=log)
        if self._build_standin is None:
            raise ImageUnavailable(f"{STANDIN} cannot be made here", retryable=False)
        # Debian's lock is taken while the stand-in's is held, and never the other way round.
        base = self.resolve(_debian(recipe), stop=stop, log=log)
        return self._build_standin(recipe, base=base.id, folder=self._folder, stop=stop, log=log)


def _debian(recipe: StandinRecipe) -> Platform:
    """Return the platform whose image is the stand-in's base."""
    return Platform("debian", recipe.base, "amd64")
