"""The RPM-native stand-in is made once in a container, kept by its recipe, and leaves nothing behind."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from alts.core.stop import Stop, Stopped
from alts.images.recipes import StandinRecipe
from alts.images.rpm_standin import BUILD_LABEL, build_standin, standin_recipe
from alts.shared.errors import ImageUnavailable
from tests.support.builders import a_spec
from tests.support.fakes import Answer, FakeInstance

RECIPE = StandinRecipe(version="9", base="12", architecture="amd64", files={"build.sh": b"true"})


class FakeBuilder(FakeInstance):
    """A container in which the script's output is `root`."""

    def __init__(self, *, exit_code: int = 0, seconds: float = 0.0, root: bytes = b"root") -> None:
        super().__init__({"sh": lambda argv: Answer(exit_code, "no space left\n", seconds)})
        self.pushed: list[str] = []
        self._root = root

    def push(self, path: str, archive: bytes) -> None:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            self.pushed += [f"{path}{name}" for name in tar.getnames()]

    def fetch(self, path: str) -> Iterable[bytes]:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            member = tarfile.TarInfo(Path(path).name)
            member.size = len(self._root)
            tar.addfile(member, io.BytesIO(self._root))
        content = buffer.getvalue()
        return (content[start : start + 700] for start in range(0, len(content), 700))


@dataclass
class FakeBuilds:
    """Gives the builder. `up` has the running containers by their labels."""

    builder_: FakeBuilder = field(default_factory=FakeBuilder)
    up: list[Mapping[str, str]] = field(default_factory=list)
    made: int = 0

    @contextmanager
    def builder(self, image: str, *, labels: Mapping[str, str], seconds: float) -> Iterator[FakeBuilder]:
        self.up.append(labels)
        self.made += 1
        try:
            yield self.builder_
        finally:
            self.remove_labelled(labels)

    def remove_labelled(self, labels: Mapping[str, str]) -> None:
        self.up = [one for one in self.up if one != labels]


def made(builds: FakeBuilds, folder: Path, *, stop: Stop | None = None) -> Path:
    return build_standin(
        RECIPE, base="sha256:debian", folder=folder, stop=stop or Stop(10), log=lambda text: None, engine=builds
    )


def test_the_stand_in_is_made_once_and_then_taken_from_the_cache(tmp_path: Path) -> None:
    builds = FakeBuilds(FakeBuilder(root=bytes(range(256)) * 9000))

    first, second = made(builds, tmp_path), made(builds, tmp_path)

    assert first == second
    assert first.read_bytes() == bytes(range(256)) * 9000
    assert list(tmp_path.iterdir()) == [first]
    assert (builds.made, builds.up) == (1, [])
    assert builds.builder_.pushed == ["/alts-build/build.sh"]


def test_a_script_that_fails_leaves_nothing_and_says_why(tmp_path: Path) -> None:
    builds = FakeBuilds(FakeBuilder(exit_code=1))

    with pytest.raises(ImageUnavailable) as raised:
        made(builds, tmp_path)

    assert "no space left" in raised.value.details
    assert list(tmp_path.iterdir()) == []
    assert builds.up == []


def test_a_stop_ends_it_and_leaves_nothing(tmp_path: Path) -> None:
    builds = FakeBuilds(FakeBuilder(seconds=60))

    with pytest.raises(Stopped):
        made(builds, tmp_path, stop=Stop(0.1))

    assert list(tmp_path.iterdir()) == []
    assert builds.up == []


def test_what_a_killed_worker_left_goes_with_the_next_use(tmp_path: Path) -> None:
    another = {BUILD_LABEL: "another"}
    builds = FakeBuilds(up=[{BUILD_LABEL: RECIPE.name}, another])
    (tmp_path / f"{RECIPE.name}.draft-abc").mkdir()

    tar = made(builds, tmp_path)

    assert list(tmp_path.iterdir()) == [tar]
    assert builds.up == [another]


def test_whatever_changes_the_content_changes_the_name() -> None:
    recipes = [
        RECIPE,
        StandinRecipe(version="9", base="13", architecture="amd64", files=RECIPE.files),
        StandinRecipe(version="9", base="12", architecture="amd64", files={"build.sh": b"false"}),
        StandinRecipe(version="9", base="12", architecture="amd64", files={"make.sh": b"true"}),
    ]

    assert len({recipe.name for recipe in recipes}) == len(recipes)
    assert len({recipe.reference for recipe in recipes}) == len(recipes)


def test_it_is_called_a_stand_in_wherever_it_shows() -> None:
    recipe = standin_recipe(a_spec(dist_name="rpm-standin", dist_version="9").platform)

    release = recipe.files["overlay/usr/lib/os-release"].decode()
    assert recipe.reference.startswith("alts/rpm-standin:9-amd64-")
    assert 'ID="rpm-standin"\nID_LIKE="rhel fedora"\nVERSION_ID="9"' in release
    assert not [path for path, content in recipe.files.items() if b"almalinux" in content.lower()]
