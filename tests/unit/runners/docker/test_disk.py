"""Disk usage of a machine, from its folders on this host or else from the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from alts.core.stop import Stop
from alts.runners.docker.disk import DiskWatch
from tests.support.scheduler_parts import HandClock

MEBIBYTE = 1024 * 1024
NOBODY = 2**22 + 1
"""No process has that id (proc(5), pid_max)."""


class FakeEngine:
    """One container, whose files are in the folders."""

    def __init__(self, layer: Path | None, *volumes: Path, size: int = 0) -> None:
        self.looks = 0
        self._layer = layer
        self._volumes = volumes
        self._size = size

    def inspect_container(self, container: str) -> Mapping[str, Any]:
        self.looks += 1
        return {
            "State": {"Pid": NOBODY},
            "GraphDriver": {"Data": {"UpperDir": str(self._layer)} if self._layer else None},
            "Mounts": [{"Type": "volume", "Source": str(volume)} for volume in self._volumes],
        }

    def containers(self, *, all: bool, filters: Any, size: bool) -> Sequence[Mapping[str, Any]]:  # noqa: A002
        return [{"SizeRw": self._size}]


def watched(engine: FakeEngine) -> bool:
    """Whether the usage exceeds a megabyte at the next check."""
    return looked(engine, free=2**40).exceeded


def looked(engine: FakeEngine, *, free: int) -> DiskWatch:
    """Return a watch for a megabyte after one check. `free` is the host's free space in bytes."""
    clock = HandClock()
    watch = DiskWatch(engine, "machine", limit_mb=1, free=lambda folder: free, clock=clock)
    clock.pass_by(60)
    watch.look(Stop(30))
    return watch


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    folder = tmp_path / "layer"
    (folder / "deep/down").mkdir(parents=True)
    return folder


def test_files_are_counted_by_what_they_take(layer: Path) -> None:
    (layer / "deep/down/file").write_bytes(b"x" * MEBIBYTE)

    assert watched(FakeEngine(layer))


def test_a_sparse_file_takes_next_to_nothing(layer: Path) -> None:
    with (layer / "sparse").open("wb") as file:
        file.truncate(2**40)

    assert not watched(FakeEngine(layer, size=2**40))


def test_empty_files_take_room_too(layer: Path) -> None:
    for number in range(300):
        (layer / str(number)).touch()

    assert watched(FakeEngine(layer))


def test_a_volume_counts(layer: Path, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "file").write_bytes(b"x" * MEBIBYTE)

    assert watched(FakeEngine(layer, volume))


def test_a_link_out_of_the_layer_leads_nowhere(layer: Path) -> None:
    (layer / "link").symlink_to("/usr")

    assert not watched(FakeEngine(layer))


@pytest.mark.parametrize(("size", "too_much"), [(MEBIBYTE, False), (MEBIBYTE + 1, True)])
def test_where_the_layer_is_not_to_be_seen_the_engine_says_how_much_it_is(size: int, too_much: bool) -> None:
    assert watched(FakeEngine(None, size=size)) is too_much
    assert watched(FakeEngine(Path("/nonexistent/layer"), size=size)) is too_much


@pytest.mark.parametrize(
    ("kilobytes", "free_mb", "fills_host"), [(100, 1000, True), (100, 1100, False), (20, 1000, False)]
)
def test_who_has_much_of_a_full_host_is_told(layer: Path, kilobytes: int, free_mb: int, *, fills_host: bool) -> None:
    (layer / "file").write_bytes(b"x" * kilobytes * 1024)

    watch = looked(FakeEngine(layer), free=free_mb * MEBIBYTE)

    assert watch.fills_host is fills_host
    assert watch.look(Stop(30)) is fills_host
    assert not watch.exceeded


def test_a_look_is_not_taken_at_every_question(layer: Path) -> None:
    engine = FakeEngine(layer)
    watch = DiskWatch(engine, "machine", limit_mb=1)

    assert not any(watch.look(Stop(30)) for _ in range(1000))
    assert engine.looks == 0


def test_however_long_a_look_takes_the_next_one_comes_within_half_a_minute() -> None:
    clock = HandClock()
    engine = SlowEngine(clock, size=0)
    watch = DiskWatch(engine, "machine", limit_mb=1, clock=clock)
    clock.pass_by(60)
    watch.look(Stop(30))

    engine.grow(2 * MEBIBYTE)
    clock.pass_by(29)
    assert not watch.look(Stop(30))
    clock.pass_by(2)
    assert watch.look(Stop(30))


class SlowEngine(FakeEngine):
    """Takes a minute to report its usage."""

    def __init__(self, clock: HandClock, *, size: int) -> None:
        super().__init__(None, size=size)
        self._clock = clock

    def grow(self, size: int) -> None:
        self._size = size

    def containers(self, *, all: bool, filters: Any, size: bool) -> Sequence[Mapping[str, Any]]:  # noqa: A002
        self._clock.pass_by(60)
        return super().containers(all=all, filters=filters, size=size)
