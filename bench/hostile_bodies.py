"""Measure the answers of /health beside forty callers with hostile bodies, and the memory that the bodies cost.

python -m bench.hostile_bodies [--seconds 3] [--callers 40] [--only WORD]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.support.crowd import Beside, LoneScheduler, beside
from tests.support.hostile_bodies import HOSTILE


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="alts-bench-") as name, LoneScheduler(Path(name)) as scheduler:
        quiet = beside(scheduler, None, callers=0, seconds=options.seconds)
        print(f"{'beside':<36} {'median':>8} {'p99':>8} {'max':>8}   requests  memory", flush=True)
        _say("nothing", quiet, scheduler.memory_mb)
        for hostile in HOSTILE:
            if options.only in hostile.name:
                seen = beside(scheduler, hostile, callers=options.callers, seconds=options.seconds)
                _say(hostile.name, seen, scheduler.memory_mb)
        print(f"memory at its highest {scheduler.peak_mb:.0f} MB")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.hostile_bodies", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each kind")
    parser.add_argument("--callers", type=int, default=40)
    parser.add_argument("--only", default="", help="a word of the kinds' names")
    return parser


def _say(name: str, seen: Beside, memory: float) -> None:
    figures = " ".join(f"{value * 1000:6.1f}ms" for value in (seen.median, seen.p99, seen.longest))
    print(f"{name:<36} {figures}   {seen.statuses}  {memory:.0f} MB", flush=True)


if __name__ == "__main__":
    sys.exit(main())
