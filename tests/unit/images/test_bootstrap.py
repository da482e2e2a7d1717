"""Recipes, and the cache of the images made from them."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from alts.core.stop import Stop, Stopped, StopReason
from alts.images.bootstrap import bootstrap
from alts.images.mmdebstrap import root_argv
from alts.images.recipes import Recipe, recipes_for
from alts.shared.errors import ImageUnavailable
from tests.support.builders import a_spec


def a_recipe(**changes: Any) -> Recipe:
    fields = {
        "distribution": "debian",
        "version": "12",
        "codename": "bookworm",
        "architecture": "amd64",
        "mirror": None,
        "finish": "true",
    }
    return Recipe(**{**fields, **changes})


class FakeMakeRoot:
    """Writes the recipe's words into the tar, or fails after half of it."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.calls = 0
        self._failure = failure

    def __call__(self, target: Path, *, finish: Path, scratch: Path, codename: str, **_: object) -> None:
        self.calls += 1
        (scratch / "mmdebstrap.tmp").mkdir()
        target.write_text("half")
        if self._failure is not None:
            raise self._failure
        target.write_text(f"{codename} {finish.read_text()}")


def made(recipe: Recipe, folder: Path, make_root: FakeMakeRoot) -> Path:
    return bootstrap(recipe, folder=folder, stop=Stop(5), log=lambda text: None, make_root=make_root)


def test_a_root_is_made_once_and_then_taken_from_the_cache(tmp_path: Path) -> None:
    make_root = FakeMakeRoot()

    tars = {made(a_recipe(), tmp_path, make_root) for _ in range(3)}

    assert make_root.calls == 1
    assert [tar.read_text() for tar in tars] == ["bookworm true"]
    assert list(tmp_path.iterdir()) == list(tars)


@pytest.mark.parametrize(
    "failure", [ImageUnavailable("mirror away"), Stopped(StopReason.CANCELLED), KeyboardInterrupt()]
)
def test_half_a_root_is_never_kept(tmp_path: Path, failure: Exception) -> None:
    with pytest.raises(type(failure)):
        made(a_recipe(), tmp_path, FakeMakeRoot(failure))

    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_worker_left_goes_with_the_next_use(tmp_path: Path) -> None:
    recipe, another = a_recipe(), a_recipe(version="13")
    for name in (recipe.name, another.name):
        (tmp_path / f"{name}.draft-abc" / "mmdebstrap.tmp" / "usr").mkdir(parents=True)

    tar = made(recipe, tmp_path, FakeMakeRoot())

    # The other draft may belong to a running process: it has another lock.
    assert set(tmp_path.iterdir()) == {tar, tmp_path / f"{another.name}.draft-abc"}


@pytest.mark.parametrize(
    "change",
    [{"mirror": "http://mirror/debian"}, {"finish": "false"}, {"architecture": "i386"}, {"codename": "sid"}],
    ids=lambda change: next(iter(change)),
)
def test_whatever_changes_the_content_changes_the_name(change: dict[str, str]) -> None:
    assert a_recipe(**change).name != a_recipe().name
    assert a_recipe(**change).reference != a_recipe().reference


def test_without_a_mirror_there_is_a_second_way_without_updates_and_security() -> None:
    first, second = recipes_for(a_spec(dist_version="11").platform, mirrors={}, finish="")

    assert (first.mirror, first.codename) == (None, "bullseye")
    assert second.mirror is not None
    assert "-main-" in second.reference
    assert "alone" in second.suites


def test_the_configured_mirror_is_the_only_one() -> None:
    mirrors = {"debian": "http://mirror.example/debian"}

    assert [recipe.mirror for recipe in recipes_for(a_spec().platform, mirrors=mirrors, finish="")] == [
        mirrors["debian"]
    ]


def test_a_folder_with_odd_letters_stays_one_word_for_mmdebstraps_shell() -> None:
    finish = Path("/a folder/it's $(touch x)/finish.sh")

    argv = root_argv(Path("/t.tar"), codename="bookworm", architecture="amd64", mirror=None, finish=finish)

    (hook,) = [word.removeprefix("--customize-hook=") for word in argv if word.startswith("--customize-hook=")]
    assert shlex.split(hook) == ["sh", str(finish), "$1"]
