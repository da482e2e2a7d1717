"""Base images with the package lists of their distribution, made and renewed in the background on demand.

A test then fetches only the lists of the task's own repositories. The caller decides whether an image's lists are
recent enough: an old image is better than none, because most lists have not changed.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from alts.core.instance import Instance, InstanceFile
from alts.core.stop import Stop, Stopped, StopReason
from alts.host.host_lock import host_lock
from alts.images.archive import packed
from alts.images.resolver import Image
from alts.images.rpm_standin import BUILD_LABEL
from alts.shared.errors import ImageUnavailable, InfrastructureError
from alts.shared.models.distributions import DEB_ARCHITECTURES
from alts.shared.models.platform import Platform

log = logging.getLogger(__name__)

FETCHED_LABEL = "alts.lists-fetched"
"""Label of a prepared image, and of the machines made from it: when the fetching of its lists began, in UTC."""

_REPOSITORY = "alts/prepared"
_BUILD_SECONDS = 300.0  # takes 4 s with a near mirror
_CLOSE_SECONDS = 30.0
_PAUSE = timedelta(minutes=1)  # between two tries to make an image
_REQUESTS = 2  # a build costs about as much as two tests save
_UNUSED = timedelta(days=1)  # after which an image is removed that no build has replaced


@dataclass(frozen=True)
class Preparation:
    """What is done to a platform's base image."""

    files: Sequence[InstanceFile]
    argv: Sequence[str]
    """Fetches the package lists."""
    env: Mapping[str, str]

    def key(self, base: str) -> str:
        """Return a short name for the result of this preparation of an image with that id."""
        digest = hashlib.sha256("\0".join((base, *self.argv)).encode())
        for file in self.files:
            digest.update(f"\0{file.path}\0{file.mode}\0{len(file.content)}\0{file.content}".encode())
        return digest.hexdigest()[:12]

    @property
    def archive(self) -> bytes:
        """The files as a tar."""
        return packed((file.path, file.content.encode(), int(file.mode, 8)) for file in self.files)


@dataclass(frozen=True)
class Prepared:
    """An image with package lists."""

    id: str
    fetched_at: datetime


class LabelledImage(Protocol):
    """Image data from the engine."""

    @property
    def id(self) -> str: ...

    @property
    def labels(self) -> Mapping[str, str]: ...

    @property
    def names(self) -> Sequence[str]: ...


class PreparingEngine(Protocol):
    """Engine interface; documented in alts.runners.docker.engine.Engine."""

    def image(self, reference: str) -> LabelledImage | None: ...

    def images(self, label: str) -> Iterable[LabelledImage]: ...

    def remove_image(self, image: str) -> None: ...


class Committer(Instance, Protocol):
    """Build container whose state can become an image; documented in alts.runners.docker.build.BuildContainer."""

    def push(self, path: str, archive: bytes) -> None: ...

    def commit(self, reference: str, *, labels: Mapping[str, str]) -> None: ...


class CommitterFactory(Protocol):
    """Documented in alts.runners.docker.build.DockerBuilds."""

    def builder(
        self, image: str, *, labels: Mapping[str, str], seconds: float
    ) -> AbstractContextManager[Committer]: ...

    def remove_labelled(self, labels: Mapping[str, str]) -> None: ...


class PreparedImages:
    """The prepared images of an engine. Workers on one host share them. Any thread may call it."""

    def __init__(
        self,
        engine: PreparingEngine,
        builds: CommitterFactory,
        preparation: Callable[[Platform], Preparation],
        *,
        renew_after: float,
        folder: Path,
        labels: Mapping[str, str],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`renew_after`: seconds after which an image is renewed if it is asked for. `folder`: for locks.

        `labels`: of build containers, by which those of a worker that was killed are found.
        """
        self._engine = engine
        self._builds = builds
        self._preparation = preparation
        self._renew_after = timedelta(seconds=renew_after)
        self._folder = folder
        self._labels = labels
        self._now = now
        self._stop = Stop(float("inf"))
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="prepare-image")
        self._lock = threading.Lock()
        self._asked: Counter[str] = Counter()
        self._building: dict[str, Future[None]] = {}
        self._tried: dict[str, datetime] = {}
        self._newest: dict[Platform, Prepared] = {}

    def get(self, platform: Platform, base: Image, *, machines: int) -> Prepared | None:
        """Return the prepared image of a base image, however old; None if there is none.

        Renews it in the background if it is old, or makes it when machines are wanted a second time. `machines`: the
        number of machines that are wanted now. Raises EngineFailed.
        """
        preparation = self._preparation(platform)
        reference = _reference(platform, preparation.key(base.id))
        found = self._find(reference)
        if found is not None:
            self._newest[platform] = found
        if found is None or self._is_old(found):
            self._build_later(platform, base, preparation, reference, machines=machines)
        return found

    def newest(self, platform: Platform) -> Prepared | None:
        """Return the newest image of the platform that this object knows of. Asks nobody."""
        return self._newest.get(platform)

    def close(self) -> None:
        """End a build that is under way."""
        self._stop.request(StopReason.DRAINING)
        with self._lock:
            building = list(self._building.values())
        self._threads.shutdown(wait=False, cancel_futures=True)
        wait_for(building, timeout=_CLOSE_SECONDS)

    def _find(self, reference: str) -> Prepared | None:
        image = self._engine.image(reference)
        fetched_at = None if image is None else _fetched_at(image)
        return None if image is None or fetched_at is None else Prepared(image.id, fetched_at)

    def _is_old(self, image: Prepared) -> bool:
        # A time that is still to come means that the clock was set back.
        return not timedelta(0) <= self._now() - image.fetched_at < self._renew_after

    def _build_later(
        self, platform: Platform, base: Image, preparation: Preparation, reference: str, *, machines: int
    ) -> None:
        with self._lock:
            self._asked[reference] += machines
            tried = self._tried.get(reference)
            too_early = tried is not None and timedelta(0) <= self._now() - tried < _PAUSE
            if self._asked[reference] < _REQUESTS or reference in self._building or too_early:
                return
            if self._stop.reason is not None:
                return
            self._tried[reference] = self._now()
            future = self._threads.submit(self._build, platform, base, preparation, reference)
            self._building[reference] = future
        future.add_done_callback(lambda _: self._building.pop(reference, None))

    def _build(self, platform: Platform, base: Image, preparation: Preparation, reference: str) -> None:
        stop = self._stop.within(_BUILD_SECONDS)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with host_lock(self._folder / f"{reference.rpartition(':')[2]}.lock", stop):
                found = self._find(reference)
                # Another worker may have made it meanwhile.
                if found is None or self._is_old(found):
                    self._make(base, preparation, reference, stop)
                    found = self._find(reference)
            if found is not None:
                self._newest[platform] = found
        except Stopped:
            if self._stop.reason is None:
                log.warning("an image was not prepared in time", extra={"image": reference})
        except (InfrastructureError, OSError) as error:
            log.warning("an image was not prepared", extra={"image": reference, "error": str(error)})

    def _make(self, base: Image, preparation: Preparation, reference: str, stop: Stop) -> None:
        build = {BUILD_LABEL: reference}
        # We hold the lock, so these containers are from killed workers.
        self._builds.remove_labelled(build)
        labels = {**build, **self._labels}
        fetched_at = self._now()
        with self._builds.builder(base.id, labels=labels, seconds=_BUILD_SECONDS) as builder:
            builder.push("/", preparation.archive)
            done = builder.run(preparation.argv, stop=stop, env=preparation.env)
            if done.stopped is not None:
                raise Stopped(done.stopped)
            if not done.ok:
                raise ImageUnavailable("package lists could not be fetched", details=done.tail())
            # Machines get the labels of their image. The empty ones take the place of the build container's.
            builder.commit(reference, labels={FETCHED_LABEL: fetched_at.isoformat(), **dict.fromkeys(labels, "")})
        self._remove_old(reference)

    def _remove_old(self, reference: str) -> None:
        """Remove the images that this one replaces, and those that nobody has renewed for long, if no machine runs."""
        made = self._engine.image(reference)
        for image in self._engine.images(FETCHED_LABEL):
            fetched_at = _fetched_at(image)
            unused = fetched_at is None or self._now() - fetched_at > _UNUSED
            if made is not None and image.id != made.id and (unused or not image.names):
                self._engine.remove_image(image.id)


def _fetched_at(image: LabelledImage) -> datetime | None:
    try:
        return datetime.fromisoformat(image.labels.get(FETCHED_LABEL, ""))
    except ValueError:
        return None


def _reference(platform: Platform, key: str) -> str:
    """Return e.g. "alts/prepared:debian-12-amd64-0123456789ab"."""
    architecture = DEB_ARCHITECTURES[platform.dist_arch]
    return f"{_REPOSITORY}:{platform.dist_name}-{platform.dist_version}-{architecture}-{key}"
