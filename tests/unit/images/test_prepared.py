"""Prepared images: when they are made, used, renewed and removed."""

from __future__ import annotations

import io
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from alts.core.command import Completed
from alts.core.instance import InstanceFile
from alts.core.stop import Stop, StopReason
from alts.images.prepared import FETCHED_LABEL, Preparation, Prepared, PreparedImages
from alts.images.resolver import Image
from alts.images.rpm_standin import BUILD_LABEL
from alts.runners.docker.engine import EngineImage
from alts.runners.docker.inventory import WORKER_LABEL
from alts.shared.models.platform import Platform
from tests.support.fakes import FakeInstance
from tests.support.stack import until

TWELVE = Platform("debian", "12", "x86_64")
BASE = Image("debian:12", "sha256:base", "local")
PREPARATION = Preparation((InstanceFile("/etc/apt/apt.conf.d/90alts", "settings"),), ("fetch",), {"LC_ALL": "C.UTF-8"})
SOON = 10.0
HOUR = timedelta(hours=1)


class HandClock:
    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@dataclass
class FakeEngine:
    """Keeps images by id, and makes containers whose commands it answers."""

    kept: dict[str, EngineImage] = field(default_factory=dict)
    in_use: set[str] = field(default_factory=set)
    builds: list[str] = field(default_factory=list)
    """Ids of the base images that were built on."""
    build_labels: list[Mapping[str, str]] = field(default_factory=list)
    fails: bool = False
    may_build: threading.Event = field(default_factory=threading.Event)
    pushed: list[bytes] = field(default_factory=list)
    commands: list[tuple[Sequence[str], Mapping[str, str]]] = field(default_factory=list)
    removed: list[Mapping[str, str]] = field(default_factory=list)
    """Labels of containers that were removed as leftovers."""

    def image(self, reference: str) -> EngineImage | None:
        return next((image for image in self.kept.values() if reference in (image.id, *image.names)), None)

    def images(self, label: str) -> Iterator[EngineImage]:
        yield from [image for image in self.kept.values() if label in image.labels]

    def remove_image(self, image: str) -> None:
        if image not in self.in_use:
            self.kept.pop(image, None)

    @contextmanager
    def builder(self, image: str, *, labels: Mapping[str, str], seconds: float) -> Iterator[FakeCommitter]:
        self.builds.append(image)
        self.build_labels.append(labels)
        yield FakeCommitter(self)

    def remove_labelled(self, labels: Mapping[str, str]) -> None:
        self.removed.append(labels)


class FakeCommitter(FakeInstance):
    def __init__(self, engine: FakeEngine) -> None:
        super().__init__()
        self._engine = engine

    def push(self, path: str, archive: bytes) -> None:
        self._engine.pushed.append(archive)

    def run(
        self,
        argv: Sequence[str],
        *,
        stop: Stop,
        env: Mapping[str, str] | None = None,
        sink: object = None,
        repeatable: bool = False,
    ) -> Completed:
        while not self._engine.may_build.wait(0.02):
            if stop.reason is not None:
                return Completed(argv=tuple(argv), exit_code=None, output="", seconds=0.0, stopped=stop.reason)
        self._engine.commands.append((argv, env or {}))
        return Completed(argv=tuple(argv), exit_code=int(self._engine.fails), output="no mirror", seconds=0.0)

    def commit(self, reference: str, *, labels: Mapping[str, str]) -> None:
        for image in list(self._engine.kept.values()):
            if reference in image.names:
                self._engine.kept[image.id] = EngineImage(image.id, "amd64", image.labels, ())
        made = f"sha256:made-{len(self._engine.builds)}"
        self._engine.kept[made] = EngineImage(made, "amd64", labels, (reference,))


@pytest.fixture
def engine() -> FakeEngine:
    engine = FakeEngine()
    engine.may_build.set()
    return engine


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def make(engine: FakeEngine, clock: HandClock, tmp_path: Path) -> Iterator[Callable[[], PreparedImages]]:
    made: list[PreparedImages] = []

    def make() -> PreparedImages:
        made.append(
            PreparedImages(
                engine,
                engine,
                lambda platform: PREPARATION,
                renew_after=60,
                folder=tmp_path,
                labels={WORKER_LABEL: "worker"},
                now=clock,
            )
        )
        return made[-1]

    yield make
    for images in made:
        images.close()


@pytest.fixture
def images(make: Callable[[], PreparedImages]) -> PreparedImages:
    return make()


def ask(images: PreparedImages, *, machines: int = 1) -> Prepared | None:
    return images.get(TWELVE, BASE, machines=machines)


def made(images: PreparedImages) -> Prepared:
    """Ask until there is an image."""
    ask(images, machines=2)
    until(lambda: images.newest(TWELVE), seconds=SOON)
    found = ask(images)
    assert found is not None
    return found


def test_nobody_waits_for_the_first_image(images: PreparedImages, engine: FakeEngine) -> None:
    engine.may_build.clear()

    assert ask(images, machines=5) is None
    assert ask(images) is None


def test_a_single_test_is_not_worth_an_image(images: PreparedImages, engine: FakeEngine) -> None:
    ask(images)
    assert engine.builds == []

    ask(images)
    until(lambda: images.newest(TWELVE), seconds=SOON)
    assert engine.builds == [BASE.id]


def test_an_image_has_the_files_and_the_lists_and_says_when_the_fetching_began(
    images: PreparedImages, engine: FakeEngine, clock: HandClock
) -> None:
    image = made(images)

    assert image.fetched_at == clock.now
    [archive] = engine.pushed
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        [member] = tar.getmembers()
        content = tar.extractfile(member)
        assert (member.name, member.mode) == ("etc/apt/apt.conf.d/90alts", 0o644)
        assert content is not None
        assert content.read() == b"settings"
    assert engine.commands == [(("fetch",), {"LC_ALL": "C.UTF-8"})]


def test_machines_of_an_image_are_not_taken_for_build_containers(images: PreparedImages, engine: FakeEngine) -> None:
    image = made(images)

    labels = engine.kept[image.id].labels
    assert (labels[BUILD_LABEL], labels[WORKER_LABEL]) == ("", "")
    assert all(labels[BUILD_LABEL] for labels in engine.removed)


def test_build_containers_of_a_killed_worker_can_be_found(images: PreparedImages, engine: FakeEngine) -> None:
    made(images)

    [labels] = engine.build_labels
    assert labels[WORKER_LABEL] == "worker"


def test_an_old_image_is_used_and_renewed(images: PreparedImages, engine: FakeEngine, clock: HandClock) -> None:
    first = made(images)
    clock.now += timedelta(seconds=61)

    assert ask(images) == first
    until(lambda: images.newest(TWELVE) != first, seconds=SOON)
    second = ask(images)

    assert second is not None
    assert (second.id != first.id, second.fetched_at) == (True, clock.now)
    assert set(engine.kept) == {second.id}


def test_an_image_from_the_future_is_renewed(images: PreparedImages, clock: HandClock) -> None:
    first = made(images)
    clock.now -= HOUR

    ask(images)
    until(lambda: images.newest(TWELVE) != first, seconds=SOON)


def test_a_replaced_image_goes_when_no_machine_uses_it(
    images: PreparedImages, engine: FakeEngine, clock: HandClock
) -> None:
    first = made(images)
    engine.in_use.add(first.id)
    other = EngineImage("sha256:other", "amd64", {FETCHED_LABEL: clock.now.isoformat()}, ("alts/prepared:other",))
    engine.kept[other.id] = other
    clock.now += HOUR
    ask(images)
    until(lambda: images.newest(TWELVE) != first, seconds=SOON)
    assert {first.id, other.id} <= set(engine.kept)

    engine.in_use.clear()
    clock.now += timedelta(days=2)
    ask(images)
    until(lambda: len(engine.builds) == 3 and len(engine.kept) == 1, seconds=SOON)


def test_workers_share_an_image(make: Callable[[], PreparedImages], engine: FakeEngine) -> None:
    image = made(make())

    assert ask(make()) == image
    assert len(engine.builds) == 1


def test_two_workers_make_one_image(make: Callable[[], PreparedImages], engine: FakeEngine) -> None:
    engine.may_build.clear()
    both = [make(), make()]
    for images in both:
        ask(images, machines=2)
    engine.may_build.set()

    for images in both:
        until(newest_of(images), seconds=SOON)
    assert len(engine.builds) == 1


def newest_of(images: PreparedImages) -> Callable[[], Prepared | None]:
    return lambda: images.newest(TWELVE)


def test_another_base_image_or_another_preparation_makes_another_image(images: PreparedImages) -> None:
    other = Preparation((), PREPARATION.argv, PREPARATION.env)
    made(images)

    assert images.get(TWELVE, Image("debian:12", "sha256:newer", "pulled"), machines=1) is None
    assert other.key(BASE.id) != PREPARATION.key(BASE.id) != PREPARATION.key("sha256:newer")


def test_a_build_that_fails_is_tried_again_later(images: PreparedImages, engine: FakeEngine, clock: HandClock) -> None:
    engine.fails = True
    ask(images, machines=2)
    until(lambda: engine.commands, seconds=SOON)
    until(lambda: not images._building, seconds=SOON)
    engine.fails = False

    assert ask(images) is None
    assert len(engine.builds) == 1
    clock.now += timedelta(minutes=2)
    made(images)


def test_a_build_ends_with_the_worker(images: PreparedImages, engine: FakeEngine) -> None:
    engine.may_build.clear()
    ask(images, machines=2)
    until(lambda: engine.builds, seconds=SOON)

    images.close()

    assert not images._building
    assert ask(images, machines=9) is None
    assert engine.builds == [BASE.id]
    assert images._stop.reason is StopReason.DRAINING
