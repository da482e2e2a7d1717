"""The command `make chaos`: run one seed after the other, report each run, and sum up."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue

from tests.chaos.invariants import Broken
from tests.chaos.plan import Plan, plan_for
from tests.chaos.private_engine import PrivateEngine
from tests.chaos.run import Result, broken_off, run
from tests.chaos.world import Servers
from tests.support.checkout import ROOT
from tests.support.rabbitmq import PrivateRabbitMQ
from tests.support.s3 import PrivateS3

FOLDER = ROOT / ".alts/chaos"


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if every promise held, 1 if one was broken."""
    options = _options(arguments)
    plans = [plan_for(seed, tasks=options.tasks) for seed in range(options.seed, options.seed + options.runs)]
    begun = time.monotonic()
    results = []
    for result in run_all(plans, jobs=options.jobs, folder=FOLDER):
        results.append(result)
        print(shown(result), flush=True)
    print(summary(results, seconds=time.monotonic() - begun), flush=True)
    return 1 if any(result.violations for result in results) else 0


def run_all(plans: Sequence[Plan], *, jobs: int, folder: Path) -> Iterator[Result]:
    """Yield the results as they come. `jobs` runs are carried out at once, each with its own servers."""
    with ExitStack() as stack:
        lanes = Lanes(stack, min(jobs, len(plans)))
        pool = stack.enter_context(ThreadPoolExecutor(max(1, jobs)))
        yield from pool.map(lambda plan: _run_one(plan, lanes, folder), plans)


class Lanes:
    """Servers for `count` simultaneous runs. Runs with real machines take turns on the one engine."""

    def __init__(self, stack: ExitStack, count: int) -> None:
        self._stack = stack
        self._free: SimpleQueue[Servers] = SimpleQueue()
        for _ in range(count):
            self._free.put(self._new())
        self._engine: PrivateEngine | None = None
        self._turn = threading.Lock()

    @contextmanager
    def servers(self, *, real: bool) -> Iterator[Servers]:
        with self._turn if real else nullcontext():
            if real and self._engine is None:
                self._engine = self._stack.enter_context(PrivateEngine())
            mine = self._free.get()
            try:
                yield replace(mine, engine=self._engine) if real else mine
            except BaseException:
                # A run that broke off may leave broken servers, and machines on the engine.
                self._free.put(self._new())
                if real:
                    self._engine = None
                raise
            self._free.put(mine)

    def _new(self) -> Servers:
        return Servers(self._stack.enter_context(PrivateRabbitMQ()), self._stack.enter_context(PrivateS3()))


def _remove(folder: Path) -> None:
    """Remove the rest of a run that failed, or that was killed with its disk still mounted."""
    while (folder / "disk").is_mount():
        subprocess.run(["umount", "--lazy", str(folder / "disk")], check=True)
    if folder.exists():
        shutil.rmtree(folder)


def _run_one(plan: Plan, lanes: Lanes, folder: Path) -> Result:
    mine = folder / f"seed-{plan.seed}"
    _remove(mine)
    mine.mkdir(parents=True)
    try:
        with lanes.servers(real=plan.real) as servers:
            result = run(plan, mine, servers)
    except Exception:  # noqa: BLE001 - the other seeds run in any case
        (mine / "traceback.txt").write_text(traceback.format_exc())
        result = broken_off(plan, f"the run broke off, see {mine}/traceback.txt")
    if result.violations:
        (mine / "violations.txt").write_text(shown(result) + "\n")
    else:
        shutil.rmtree(mine)
    return result


def shown(result: Result) -> str:
    """Return a line for the run, and one more for each broken promise."""
    kind = "real" if result.plan.real else "stub"
    faults = ", ".join(f"{name}{f' x{count}' if count > 1 else ''}" for name, count in sorted(result.faults.items()))
    converged = "never" if result.converged_in is None else f"{result.converged_in:.1f} s"
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(result.outcomes.items()))
    head = (
        f"seed {result.plan.seed} ({kind}): {result.tasks} tasks ({outcomes}), {result.attempts} attempts; "
        f"{faults}; all ended {converged} after the last mend; {result.seconds:.0f} s"
    )
    return "\n".join([head, *(f"    {one.broken.upper()}: {one.what}" for one in result.violations)])


def summary(results: Sequence[Result], *, seconds: float) -> str:
    """Return the text that `docs/reliability.md` shows."""
    faults: Counter[str] = sum((result.faults for result in results), Counter())
    broken = Counter(one.broken for result in results for one in result.violations)
    failed = [str(result.plan.seed) for result in results if result.violations]
    slowest = max((result.converged_in for result in results if result.converged_in is not None), default=0.0)
    lines = [
        f"{len(results)} runs ({sum(result.plan.real for result in results)} with real machines), "
        f"{sum(result.tasks for result in results)} tasks, {sum(result.attempts for result in results)} attempts, "
        f"{seconds / 60:.1f} min; slowest recovery {slowest:.1f} s",
        "faults: " + ", ".join(f"{name} {count}" for name, count in sorted(faults.items())),
        ", ".join(f"{broken[kind]} {kind}" for kind in Broken),
    ]
    if failed:
        lines.append(f"failed seeds: {', '.join(failed)}; what they left is in {FOLDER}")
    return "\n".join(lines)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the first run; the others count on from it")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument(
        "--tasks", type=int, default=24, help="of a run with stub machines; real ones get five for six of them"
    )
    parser.add_argument("--jobs", type=int, default=2, help="runs at once")
    return parser.parse_args(arguments)
