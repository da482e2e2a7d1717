"""Compare the time and the processor time of testing a package, with the same work in the same run.

    python -m bench.speed [--runs 5] [--packages hello jq] [--quick]

All contenders read Debian's whole lists from one proxy on this host, which has fetched every file before. They take
turns, so that other load on the machine falls on all of them. The results go to bench/results: a table
in JSON, and pictures.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from bench.contenders import FLOOR, Contender, bare_docker, described, embedded, full_stack
from bench.host import host
from bench.peers import peers
from bench.plots import draw
from tests.support.checkout import ROOT
from tests.support.mirror import Memory, mirror

RESULTS = ROOT / "bench/results"
AT_ONCE = 4
POOL = 4
FASTER_THAN = {
    "piuparts (docker)": 5,
    "tmt (podman)": 6,
    "autopkgtest (docker)": 10,
    "the predecessor's sequence": 40,
}
"""Peer → how many times faster a test is to be."""
_IMAGE_SECONDS = 20.0  # for an image with package lists, and a pool from it
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Sample:
    """One measurement."""

    contender: str
    package: str
    at_once: int
    seconds: float
    """From the first request to the last verdict, for each test."""
    cpu_seconds: float
    """Of the whole machine, for each test."""
    first_command: float | None
    """Seconds from the request to the first command in the machine; the median of several tests."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    with tempfile.TemporaryDirectory(prefix="alts-bench-") as name:
        folder = Path(name)
        with mirror(folder, Memory()) as proxy:
            samples = _run(folder, proxy.url, options)
    keep(samples, RESULTS)
    print((RESULTS / "speed.txt").read_text())
    return 0


def keep(samples: Sequence[Sample], folder: Path) -> None:
    """Write speed.json, speed.txt with the table and the targets, and the pictures."""
    folder.mkdir(exist_ok=True)
    where = host()
    result = {"host": where, "samples": [asdict(sample) for sample in samples]}
    (folder / "speed.json").write_text(json.dumps(result, indent=1) + "\n")
    about = ", ".join(f"{name}: {value}" for name, value in where.items())
    (folder / "speed.txt").write_text("\n\n".join((about, table(samples), "\n".join(targets(samples)))) + "\n")
    draw(samples, folder)


def _run(folder: Path, proxy: str, options: argparse.Namespace) -> list[Sample]:
    """Measure every contender. Two embedded services cannot be open at once: they share one broker in memory."""
    services: list[Callable[[], AbstractContextManager[Contender]]] = [
        partial(embedded, folder, proxy=proxy, pool_size=pool_size, lists=lists)
        for pool_size, lists in ((0, False), (POOL, False), (POOL, True))
    ]
    if not options.quick:
        services.append(partial(full_stack, folder, proxy=proxy, pool_size=POOL))
    samples: list[Sample] = []
    with bare_docker(folder, proxy=proxy) as floor:
        for serving in services:
            with serving() as service:
                if "lists" in service.name:
                    # The second test has an image made, and the pool's machines are made anew from it.
                    service.test(options.packages[0])
                    service.test(options.packages[0])
                    time.sleep(_IMAGE_SECONDS)
                samples += _side_by_side([floor, service], options.packages, options.runs)
        if not options.quick:
            with peers(folder, proxy=proxy) as others:
                samples += _side_by_side([floor, *others], options.peer_packages or options.packages, options.runs)
    return samples


def _side_by_side(contenders: Sequence[Contender], packages: Sequence[str], runs: int) -> list[Sample]:
    samples: list[Sample] = []
    for package in packages:
        for contender in contenders:
            contender.test(package)  # fills the proxy, and the pool
        for _ in range(runs):
            samples += [one_by_one(contender, package) for contender in contenders]
    samples += [together(contender, packages, runs) for contender in contenders]
    return samples


def one_by_one(contender: Contender, package: str) -> Sample:
    """Measure one test on a machine that does nothing else. The time to fill a pool again is not part of it."""
    time.sleep(4.0)
    return _measured(contender, package, lambda: [contender.test(package)], at_once=1)


def together(contender: Contender, packages: Sequence[str], runs: int) -> Sample:
    """Measure AT_ONCE tests at once, each next one begun when one has ended."""
    queue = [package for _ in range(runs) for package in packages for _ in range(2)]
    time.sleep(4.0)

    def work() -> list[float | None]:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(contender.test, queue))

    return _measured(contender, " and ".join(packages), work, at_once=AT_ONCE)


def _measured(contender: Contender, package: str, work: Callable[[], list[float | None]], *, at_once: int) -> Sample:
    begun, busy = time.monotonic(), _busy()
    firsts = work()
    seconds, cpu = (time.monotonic() - begun) / len(firsts), (_busy() - busy) / len(firsts)
    print(f"{contender.name:<36} {package:<16} {seconds:6.2f} s {cpu:6.2f} CPU s", flush=True)
    known = [first for first in firsts if first is not None]
    return Sample(contender.name, package, at_once, seconds, cpu, statistics.median(known) if known else None)


def _busy() -> float:
    """Return the processor time that the machine has spent, in seconds (proc(5), "stat")."""
    user, nice, system, _idle, _iowait, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq) / _TICKS


def grouped(samples: Sequence[Sample]) -> dict[tuple[str, int, str], list[Sample]]:
    """Return (package, at once, contender) → its samples, in the order of the run."""
    groups: dict[tuple[str, int, str], list[Sample]] = {}
    for sample in samples:
        groups.setdefault((sample.package, sample.at_once, sample.contender), []).append(sample)
    return groups


def table(samples: Sequence[Sample]) -> str:
    """Return a line for each contender and package, with the ratio to the median of the bare `docker run`."""
    lines = [f"{'contender':<36} {'package':<16} {'at once':>7} {'median':>8} {'min':>8} {'max':>8} {'CPU s':>7} ratio"]
    groups = grouped(samples)
    for (package, at_once, contender), found in groups.items():
        seconds = [sample.seconds for sample in found]
        floor = _median(groups[package, at_once, FLOOR])
        cpu = statistics.median(sample.cpu_seconds for sample in found)
        times = " ".join(f"{figure:>8.2f}" for figure in (_median(found), min(seconds), max(seconds)))
        lines.append(f"{contender:<36} {package:<16} {at_once:>7} {times} {cpu:>7.2f} {_median(found) / floor:5.2f}")
    return "\n".join(lines)


def _median(samples: Sequence[Sample]) -> float:
    return statistics.median(sample.seconds for sample in samples)


def targets(samples: Sequence[Sample]) -> Iterator[str]:
    """Yield a line for each target that was measured: what it is, the figure, and the goal."""
    best = f"embedded, {described(pool_size=POOL, lists=True)}"
    groups = grouped(samples)
    for (package, at_once, contender), found in groups.items():
        mine = groups.get((package, at_once, best))
        if mine is None or contender == best:
            continue
        times = _median(found) / _median(mine)
        if contender == FLOOR and at_once == 1:
            yield f"{package}: {1 / times:.2f} x {FLOOR} (goal: {0.5 if package == 'hello' else 0.8} or less)"
        elif contender == FLOOR:
            yield f"{package}, {at_once} at once: {times:.2f} x as many tests a minute as {FLOOR} (goal: 2)"
        elif contender in FASTER_THAN and at_once == 1:
            yield f"{package}: {times:.1f} x faster than {contender} (goal: {FASTER_THAN[contender]})"
    for (package, at_once, contender), found in groups.items():
        firsts = [sample.first_command for sample in found if sample.first_command is not None]
        if firsts and at_once == 1 and "pool" in contender and "lists" in contender:
            goal = 50 if contender == best else 80
            first = statistics.median(firsts) * 1000
            yield f"{package}, {contender}: {first:.0f} ms to the first command (goal: {goal} or less)"


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.speed", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--packages", nargs="+", default=["hello", "jq", "nginx-light"])
    parser.add_argument("--peer-packages", nargs="+", help="fewer packages for the other systems, which are slow")
    parser.add_argument("--quick", action="store_true", help="two runs of hello, only embedded")
    options = parser.parse_args(arguments)
    if options.quick:
        options.runs, options.packages = 2, ["hello"]
    return options


if __name__ == "__main__":
    sys.exit(main())
