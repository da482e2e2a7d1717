"""A base image comes from the engine, a registry or a mirror, in that order, and each is asked once."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from alts.core.output import OutputSink
from alts.core.stop import Stop, Stopped, StopReason
from alts.host.host_lock import host_lock
from alts.images.factory import Image, ImageResolver
from alts.images.pull_failures import MEMORY_SECONDS, PullMemory
from alts.images.recipes import Recipe, StandinRecipe
from alts.runners.docker.engine import EngineImage
from alts.runners.docker.errors import EngineFailed
from alts.shared.errors import ImageUnavailable, InfrastructureError
from tests.support.builders import a_spec


@dataclass
class FakeEngine:
    """Images by name. `registry` has the images that can be pulled: (name, platform) → id."""

    images: dict[str, EngineImage] = field(default_factory=dict)
    registry: dict[tuple[str, str], str] = field(default_factory=dict)
    pull_seconds: float = 0.0
    pulls: list[str] = field(default_factory=list)
    loads: int = 0

    def image(self, reference: str) -> EngineImage | None:
        return self.images.get(reference)

    def pull(self, reference: str, *, platform: str, stop: Stop, log: OutputSink, answer_within: float) -> None:
        self.pulls.append(f"{reference} {platform}")
        stop.sleep(self.pull_seconds)
        stop.check()
        if (reference, platform) not in self.registry:
            raise EngineFailed("cannot be pulled", details="no such host")
        self.images[reference] = EngineImage(self.registry[reference, platform], platform.partition("/")[2])

    def load(self, archive: Iterable[bytes], *, stop: Stop) -> None:
        content = b"".join(archive)
        self.loads += 1
        name = content[content.index(b'"RepoTags":["') + 13 :].split(b'"')[0].decode()
        architecture = content[content.index(b'"architecture":"') + 16 :].split(b'"')[0].decode()
        self.images[name] = EngineImage(f"sha256:loaded-{self.loads}", architecture)

    def tag(self, image: str, reference: str) -> None:
        # A real engine also knows the architecture of an image without a name.
        self.images[reference] = next(one for one in (*self.images.values(), AMD64, I386) if one.id == image)


class FakeBootstrap:
    """A slow builder that fails for the first `failures` recipes."""

    def __init__(self, *, failures: int = 0, seconds: float = 0.0) -> None:
        self.made: list[Recipe] = []
        self._failures = failures
        self._seconds = seconds

    def __call__(self, recipe: Recipe, *, folder: Path, stop: Stop, log: OutputSink) -> Path:
        self.made.append(recipe)
        time.sleep(self._seconds)
        if len(self.made) <= self._failures:
            raise ImageUnavailable("mmdebstrap failed", details="404 bullseye-security")
        tar = folder / f"{recipe.name}.tar"
        tar.write_bytes(b"root")
        return tar


AMD64 = EngineImage("sha256:amd64", "amd64")
I386 = EngineImage("sha256:i386", "386")


@dataclass
class Site:
    """A resolver with its collaborators."""

    folder: Path
    engine: FakeEngine = field(default_factory=FakeEngine)
    bootstrap: FakeBootstrap | None = field(default_factory=FakeBootstrap)
    pull_timeout: float | None = 5.0
    said: list[str] = field(default_factory=list)

    def resolver(self) -> ImageResolver:
        return ImageResolver(
            self.engine,
            cache_folder=self.folder,
            mirrors={},
            pull_timeout=self.pull_timeout,
            bootstrap=self.bootstrap,
            # A host with Debian's keys only.
            has_keyring=lambda name: name == "debian-archive-keyring.gpg",
        )

    def resolve(self, *, stop: Stop | None = None, **spec: Any) -> Image:
        return self.resolver().resolve(a_spec(**spec).platform, stop=stop or Stop(10), log=self.said.append)


def test_what_the_engine_has_is_used_and_nothing_is_fetched(tmp_path: Path) -> None:
    site = Site(tmp_path, FakeEngine({"debian:12": AMD64}))

    assert site.resolve() == Image(reference="debian:12", id="sha256:amd64", origin="local")
    assert (site.engine.pulls, site.engine.loads) == ([], 0)


def test_an_image_of_another_architecture_is_not_the_one(tmp_path: Path) -> None:
    site = Site(tmp_path, FakeEngine({"debian:12": I386}))

    assert site.resolve().origin == "bootstrapped"
    assert site.engine.images["debian:12"] == I386


def test_a_registry_that_answers_is_asked_before_a_mirror(tmp_path: Path) -> None:
    site = Site(tmp_path, FakeEngine(registry={("debian:12", "linux/amd64"): "sha256:new"}))

    assert site.resolve() == Image(reference="debian:12", id="sha256:new", origin="pulled")
    assert site.engine.loads == 0


def test_pulling_a_foreign_architecture_leaves_the_name_to_the_one_that_had_it(tmp_path: Path) -> None:
    site = Site(tmp_path, FakeEngine({"debian:12": AMD64}, registry={("debian:12", "linux/386"): "sha256:new"}))

    image = site.resolve(dist_arch="i686")

    assert (image.id, image.origin) == ("sha256:new", "pulled")
    assert site.engine.images["debian:12"] == AMD64
    assert site.resolve(dist_arch="i686") == image
    assert len(site.engine.pulls) == 1


def test_without_a_registry_the_image_is_bootstrapped_once_and_found_again(tmp_path: Path) -> None:
    site = Site(tmp_path)

    first, second = site.resolve(), site.resolve()

    assert first == second
    assert first.origin == "bootstrapped"
    assert first.reference.startswith("alts/debian:12-amd64-")
    assert site.engine.loads == 1


def test_a_failed_pull_is_not_tried_again_by_the_next_task(tmp_path: Path) -> None:
    site = Site(tmp_path, bootstrap=None)

    for _ in range(2):
        with pytest.raises(ImageUnavailable):
            site.resolve()

    assert site.engine.pulls == ["debian:12 linux/amd64"]


def test_a_failed_pull_is_forgotten_after_a_while(tmp_path: Path) -> None:
    now = time.time()
    PullMemory(tmp_path).remember("debian-12-amd64", "no such host")

    for age, expected in ((1.0, "no such host"), (MEMORY_SECONDS + 1, None), (-3600.0, None)):
        assert PullMemory(tmp_path, clock=lambda age=age: now + age).failure("debian-12-amd64") == expected  # type: ignore[misc]


def test_a_pull_that_takes_too_long_gives_way_to_the_mirror(tmp_path: Path) -> None:
    site = Site(tmp_path, FakeEngine(pull_seconds=30), pull_timeout=0.1)

    assert site.resolve().origin == "bootstrapped"
    assert "pulling debian:12 took over 0 s" in "".join(site.said)


def test_a_stop_during_a_pull_ends_it_all_and_blames_no_registry(tmp_path: Path) -> None:
    site = Site(tmp_path, FakeEngine(pull_seconds=30))

    with pytest.raises(Stopped):
        site.resolve(stop=Stop(0.1))

    assert PullMemory(tmp_path).failure("debian-12-amd64") is None
    assert site.engine.loads == 0


def test_where_security_is_gone_the_main_suite_has_to_do_and_the_log_says_so(tmp_path: Path) -> None:
    site = Site(tmp_path, bootstrap=FakeBootstrap(failures=1))

    image = site.resolve(dist_version="11")

    assert "-main-" in image.reference
    assert "alone" in "".join(site.said)
    assert site.resolve(dist_version="11") == image


def test_where_nothing_helps_the_error_says_what_was_tried(tmp_path: Path) -> None:
    site = Site(tmp_path, bootstrap=FakeBootstrap(failures=9))

    with pytest.raises(ImageUnavailable) as raised:
        site.resolve()

    assert raised.value.retryable
    assert "no such host" in raised.value.details
    assert raised.value.details.count("404 bullseye-security") == 2


def test_what_is_switched_off_is_not_tried(tmp_path: Path) -> None:
    site = Site(tmp_path, bootstrap=None, pull_timeout=None)

    with pytest.raises(ImageUnavailable) as raised:
        site.resolve()

    assert site.engine.pulls == []
    assert "image_pull" in raised.value.details
    assert "image_bootstrap" in raised.value.details


def test_an_unusable_cache_folder_is_our_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    site = Site(tmp_path / "file" / "cache")

    with pytest.raises(InfrastructureError, match="cache folder"):
        site.resolve()


def at_the_same_time(calls: Sequence[Callable[[], Image]]) -> list[Image]:
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


@pytest.mark.parametrize("workers", ["one resolver", "two resolvers"])
def test_tasks_that_want_the_same_image_make_it_once(tmp_path: Path, workers: str) -> None:
    bootstrap = FakeBootstrap(seconds=0.3)
    site = Site(tmp_path, bootstrap=bootstrap)
    resolvers = [site.resolver()] * 4 if workers == "one resolver" else [site.resolver() for _ in range(4)]

    images = at_the_same_time(
        [lambda one=one: one.resolve(a_spec().platform, stop=Stop(10), log=site.said.append) for one in resolvers]  # type: ignore[misc]
    )

    assert len(set(images)) == 1
    assert len(bootstrap.made) == 1


def test_different_images_are_made_side_by_side(tmp_path: Path) -> None:
    together = threading.Barrier(2, timeout=5)

    class Meeting(FakeBootstrap):
        def __call__(self, recipe: Recipe, *, folder: Path, stop: Stop, log: OutputSink) -> Path:
            together.wait()
            return super().__call__(recipe, folder=folder, stop=stop, log=log)

    site = Site(tmp_path, bootstrap=Meeting())

    images = at_the_same_time([lambda: site.resolve(dist_version="12"), lambda: site.resolve(dist_version="13")])

    assert len({image.id for image in images}) == 2


def test_who_waits_for_another_worker_can_be_stopped(tmp_path: Path) -> None:
    site = Site(tmp_path)
    stop = Stop(30)
    threading.Timer(0.2, stop.request, [StopReason.CANCELLED]).start()

    with host_lock(tmp_path / "debian-12.lock", Stop(1)), pytest.raises(Stopped):
        site.resolve(stop=stop)


def test_a_lock_dies_with_its_holder(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        with host_lock(tmp_path / "lock", Stop(1)):
            os._exit(0)
    os.waitpid(pid, 0)

    with host_lock(tmp_path / "lock", Stop(1)):
        pass


@pytest.mark.parametrize(
    ("distribution", "version", "said"),
    [
        ("ubuntu", "24.04", "apt-get install ubuntu-keyring"),
        ("almalinux", "9", "no image of almalinux can be made here"),
    ],
)
def test_what_can_only_be_pulled_is_said_to_be_so(tmp_path: Path, distribution: str, version: str, said: str) -> None:
    site = Site(tmp_path)

    with pytest.raises(ImageUnavailable) as raised:
        site.resolve(dist_name=distribution, dist_version=version)

    assert said in raised.value.details
    assert site.engine.loads == 0


def test_the_stand_in_is_made_of_the_debian_image_and_never_pulled(tmp_path: Path) -> None:
    engine = FakeEngine({"debian:12": AMD64})
    bases: list[str] = []

    def build_standin(recipe: StandinRecipe, *, base: str, folder: Path, stop: Stop, log: OutputSink) -> Path:
        bases.append(base)
        tar = folder / f"{recipe.name}.tar"
        tar.write_bytes(b"root")
        return tar

    resolver = ImageResolver(
        engine,
        cache_folder=tmp_path,
        mirrors={},
        pull_timeout=5.0,
        bootstrap=FakeBootstrap(),
        build_standin=build_standin,
    )
    spec = a_spec(dist_name="rpm-standin", dist_version="9")

    first = resolver.resolve(spec.platform, stop=Stop(10), log=lambda text: None)

    assert first == resolver.resolve(spec.platform, stop=Stop(10), log=lambda text: None)
    assert first.reference.startswith("alts/rpm-standin:9-amd64-")
    assert bases == ["sha256:amd64"]
    assert engine.pulls == []
