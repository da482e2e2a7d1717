"""Compare the requests that the scheduler accepts in a second with those of the same application without a ledger.

    python -m bench.posts [--seconds 5] [--clients 16] [--rounds 3] [--schedulers 1 2 4]

All take turns in one run. Each client sends the next request when it has the answer to the last one. With --schedulers,
as many scheduler processes share a ledger on PostgreSQL. The results go to bench/results/posts.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

import uvicorn

from bench.host import host
from bench.http_load import Load, post_tasks
from scheduler.api.application import create_app
from scheduler.ledger.tasks import NewTask, Tasks
from tests.support.checkout import ROOT
from tests.support.ports import answers, free_ports
from tests.support.postgresql import PrivatePostgreSQL
from tests.support.scheduler_parts import HandClock, a_ledger, some_services
from tests.support.stack import until

BARE, WITH_LEDGER, ON_POSTGRESQL = "without a ledger", "with a ledger", "on PostgreSQL"
RESULTS = ROOT / "bench/results"


class Forgetful(Tasks):
    """Accepts tasks and stores nothing."""

    def __init__(self) -> None:
        pass

    def add_all(self, wanted: Sequence[NewTask]) -> list[str | Exception]:
        return [new.id for new in wanted]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    if options.serve:
        folder, port, url, contender = options.serve
        _serve(Path(folder), int(port), url, bare=contender == BARE)
        return 0
    loads: dict[str, list[Load]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="alts-bench-")))
        server = stack.enter_context(PrivatePostgreSQL(durable=True)) if options.schedulers else None
        contenders = [(BARE, 1), (WITH_LEDGER, 1), *((ON_POSTGRESQL, number) for number in options.schedulers)]
        for number, (contender, schedulers) in itertools.product(range(options.rounds), contenders):
            own = folder / f"{contender}-{schedulers}-{number}"
            own.mkdir()
            with ExitStack() as running:
                url = f"sqlite:///{own}/ledger.sqlite"
                if contender == ON_POSTGRESQL and server is not None:
                    url = running.enter_context(server.database())
                ports = [running.enter_context(_served(own, url, contender)) for _ in range(schedulers)]
                load = post_tasks(*ports, clients=options.clients, seconds=options.seconds)
            name = f"{schedulers} {contender}"
            loads.setdefault(name, []).append(load)
            print(f"{name:<30} {load.a_second:7.0f}/s, p99 {load.p99 * 1000:.0f} ms", flush=True)
    _say(loads)
    return 0


def _say(loads: Mapping[str, Sequence[Load]]) -> None:
    rates = {name: statistics.median(one.a_second for one in some) for name, some in loads.items()}
    late = {name: statistics.median(one.p99 for one in some) for name, some in loads.items()}
    for name, rate in rates.items():
        ratio = rate / rates[f"1 {BARE}"]
        print(f"{name:<30} {rate:7.0f}/s, ratio {ratio:.2f} (goal 0.85), p99 {late[name] * 1000:.0f} ms (goal 100)")
    RESULTS.mkdir(exist_ok=True)
    result = {"host": host(), "loads": {name: [asdict(one) for one in some] for name, some in loads.items()}}
    (RESULTS / "posts.json").write_text(json.dumps(result, indent=1) + "\n")


def _serve(folder: Path, port: int, url: str, *, bare: bool) -> None:
    ledger = a_ledger(url, HandClock(time.time()))
    if bare:
        ledger.tasks = Forgetful()
    services = some_services(folder, ledger, caller_requests_per_minute=0, caller_unfinished_tasks=0)
    app = create_app(services)
    uvicorn.run(app, http="h11", host="127.0.0.1", port=port, log_config=None)


@contextmanager
def _served(folder: Path, url: str, contender: str) -> Iterator[int]:
    [port] = free_ports(1)
    argv = [sys.executable, "-m", "bench.posts", "--serve", str(folder), str(port), url, contender]
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
    parser.add_argument("--schedulers", type=int, nargs="*", default=[], help="numbers of them, on PostgreSQL")
    parser.add_argument("--serve", nargs=4, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
