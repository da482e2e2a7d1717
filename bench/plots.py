"""Pictures of the results, as SVG."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import pygal
from pygal.style import CleanStyle


class Measured(Protocol):
    """What a picture needs of a sample; bench.speed.Sample has it."""

    @property
    def contender(self) -> str: ...
    @property
    def package(self) -> str: ...
    @property
    def at_once(self) -> int: ...
    @property
    def seconds(self) -> float: ...


def draw(samples: Sequence[Measured], folder: Path) -> None:
    """Write seconds.svg, of one test at a time, and tests-a-minute.svg, of several at once."""
    alone = [sample for sample in samples if sample.at_once == 1]
    crowd = [sample for sample in samples if sample.at_once > 1]
    _bars(folder / "seconds.svg", "seconds from the request to the verdict, median", _medians(alone))
    rates = {
        contender: {package: 60 / seconds for package, seconds in by_package.items()}
        for contender, by_package in _medians(crowd).items()
    }
    if rates:
        _bars(folder / "tests-a-minute.svg", f"tests a minute, {crowd[0].at_once} at once", rates)


def _medians(samples: Sequence[Measured]) -> dict[str, dict[str, float]]:
    """Return contender → package → seconds."""
    found: dict[str, dict[str, list[float]]] = {}
    for sample in samples:
        found.setdefault(sample.contender, {}).setdefault(sample.package, []).append(sample.seconds)
    return {
        contender: {package: statistics.median(seconds) for package, seconds in by_package.items()}
        for contender, by_package in found.items()
    }


def _bars(file: Path, title: str, figures: Mapping[str, Mapping[str, float]]) -> None:
    """Draw a group of bars for each contender, with a bar for each package."""
    packages = list(dict.fromkeys(package for by_package in figures.values() for package in by_package))
    # Without the scripts that pygal's pictures fetch from elsewhere.
    chart = pygal.HorizontalBar(
        title=title, style=CleanStyle, js=[], print_values=True, legend_at_bottom=True, formatter=lambda y: f"{y:.1f}"
    )
    contenders = list(figures)[::-1]
    chart.x_labels = contenders
    for package in packages:
        chart.add(package, [figures[contender].get(package) for contender in contenders])
    file.write_bytes(chart.render())
