"""Compare the requests that the scheduler accepts in a second with those of the same application without a ledger.

    python -m bench.posts [--seconds 5] [--clients 16] [--rounds 3]

Both take turns in one run. Each client sends the next request when it has the answer to the last one.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from bench.http_load import Load, post_tasks
from scheduler.api.application import create_app
from scheduler.ledger.tasks import NewTask, Tasks
from tests.support.checkout import ROOT
from tests.support.ports import answers, free_ports
from tests.support.scheduler_parts import HandClock, a_ledger, some_services
from tests.support.stack import until

BARE, WITH_LEDGER = "without a ledger", "with a ledger"


class Forgetful(Tasks):
    """Accepts tasks and stores nothing."""

    def __init__(self) -> None:
        pass

    def add_all(self, wanted: Sequence[NewTask]) -> list[str | Exception]:
        return [new.id for new in wanted]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    if options.serve:
        _serve(Path(options.serve[0]), int(options.serve[1]), bare=options.serve[2] == BARE)
        return 0
    loads: dict[str, list[Load]] = {BARE: [], WITH_LEDGER: []}
    with tempfile.TemporaryDirectory(prefix="alts-bench-") as name:
        for number in range(options.rounds):
            for contender in (BARE, WITH_LEDGER):
                with _served(Path(name) / f"{contender}-{number}", contender) as port:
                    load = post_tasks(port, clients=options.clients, seconds=options.seconds)
                    loads[contender].append(load)
                    print(f"{contender:<18} {load.a_second:7.0f}/s, p99 {load.p99 * 1000:.0f} ms", flush=True)
    medians = {contender: statistics.median(one.a_second for one in some) for contender, some in loads.items()}
    print(f"ratio {medians[WITH_LEDGER] / medians[BARE]:.2f} (goal 0.85)")
    return 0


def _serve(folder: Path, port: int, *, bare: bool) -> None:
    ledger = a_ledger(folder, HandClock(time.time()))
    if bare:
        ledger.tasks = Forgetful()
    services = some_services(folder, ledger, caller_requests_per_minute=0, caller_unfinished_tasks=0)
    app = create_app(services)
    uvicorn.run(app, http="h11", host="127.0.0.1", port=port, log_config=None)


@contextmanager
def _served(folder: Path, contender: str) -> Iterator[int]:
    folder.mkdir()
    [port] = free_ports(1)
    argv = [sys.executable, "-m", "bench.posts", "--serve", str(folder), str(port), contender]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: answers(port), seconds=60)
            yield port
        finally:
            process.kill()


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.posts", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
