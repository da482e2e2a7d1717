"""Compare the time and the processor time of testing a package, with the same work in the same run.

    python -m bench.speed [--runs 5] [--packages hello jq] [--quick]

All contenders read Debian's whole lists from one proxy on this host, which has fetched every file before. They take
turns, so that other load on the machine falls on all of them. The results go to bench/results/speed.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.contenders import Contender, bare_docker, embedded
from bench.host import host
from tests.support.checkout import ROOT
from tests.support.mirror import Memory, mirror

RESULTS = ROOT / "bench/results"
AT_ONCE = 4
POOL = 4
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


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    with tempfile.TemporaryDirectory(prefix="alts-bench-") as name:
        folder = Path(name)
        with mirror(folder, Memory()) as proxy:
            samples = _run(folder, proxy.url, options)
    print(table(samples))
    RESULTS.mkdir(exist_ok=True)
    result = {"host": host(), "samples": [asdict(sample) for sample in samples]}
    (RESULTS / "speed.json").write_text(json.dumps(result, indent=1) + "\n")
    return 0


def _run(folder: Path, proxy: str, options: argparse.Namespace) -> list[Sample]:
    """Measure every contender. Two embedded services cannot be open at once: they share one broker in memory."""
    samples: list[Sample] = []
    with bare_docker(folder, proxy=proxy) as floor:
        for pool_size, lists in ((0, False), (POOL, False), (POOL, True)):
            with embedded(folder, proxy=proxy, pool_size=pool_size, lists=lists) as service:
                if lists:
                    # The second test has an image made, and the pool's machines are made anew from it.
                    service.test(options.packages[0])
                    service.test(options.packages[0])
                    time.sleep(_IMAGE_SECONDS)
                for package in options.packages:
                    for contender in (floor, service):
                        contender.test(package)  # fills the proxy, and the pool
                    for _ in range(options.runs):
                        samples += [one_by_one(contender, package) for contender in (floor, service)]
                samples += [together(contender, options.packages, options.runs) for contender in (floor, service)]
    return samples


def one_by_one(contender: Contender, package: str) -> Sample:
    """Measure one test on a machine that does nothing else. The time to fill a pool again is not part of it."""
    time.sleep(4.0)
    return _measured(contender, package, lambda: contender.test(package), tests=1, at_once=1)


def together(contender: Contender, packages: Sequence[str], runs: int) -> Sample:
    """Measure AT_ONCE tests at once, each next one begun when one has ended."""
    queue = [package for _ in range(runs) for package in packages for _ in range(2)]
    time.sleep(4.0)

    def work() -> None:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(contender.test, queue))

    return _measured(contender, " and ".join(packages), work, tests=len(queue), at_once=AT_ONCE)


def _measured(contender: Contender, package: str, work: Callable[[], None], *, tests: int, at_once: int) -> Sample:
    begun, busy = time.monotonic(), _busy()
    work()
    seconds, cpu = time.monotonic() - begun, _busy() - busy
    print(f"{contender.name:<28} {package:<16} {seconds / tests:6.2f} s {cpu / tests:6.2f} CPU s", flush=True)
    return Sample(contender.name, package, at_once, seconds / tests, cpu / tests)


def _busy() -> float:
    """Return the processor time that the machine has spent, in seconds (proc(5), "stat")."""
    user, nice, system, _idle, _iowait, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq) / _TICKS


def table(samples: Sequence[Sample]) -> str:
    """Return a line for each contender and package, with the ratio to the first contender's median."""
    lines = [f"{'contender':<28} {'package':<16} {'at once':>7} {'median':>8} {'min':>8} {'max':>8} {'CPU s':>7} ratio"]
    groups: dict[tuple[str, int, str], list[Sample]] = {}
    for sample in samples:
        groups.setdefault((sample.package, sample.at_once, sample.contender), []).append(sample)
    floors: dict[tuple[str, int], float] = {}
    for (package, at_once, contender), found in groups.items():
        seconds = [sample.seconds for sample in found]
        median = statistics.median(seconds)
        floor = floors.setdefault((package, at_once), median)
        cpu = statistics.median(sample.cpu_seconds for sample in found)
        lines.append(
            f"{contender:<28} {package:<16} {at_once:>7} {median:>8.2f} {min(seconds):>8.2f} {max(seconds):>8.2f} "
            f"{cpu:>7.2f} {median / floor:5.2f}"
        )
    return "\n".join(lines)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.speed", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--packages", nargs="+", default=["hello", "jq", "nginx-light"])
    parser.add_argument("--quick", action="store_true", help="two runs of hello alone")
    options = parser.parse_args(arguments)
    if options.quick:
        options.runs, options.packages = 2, ["hello"]
    return options


if __name__ == "__main__":
    sys.exit(main())
