"""Measure what a task costs the service itself, and whether a full ledger makes it slower.

    python -m bench.scale [--tasks 10000] [--workers 4] [--queued 100000] [--finished 1000000]

First, tasks with stub machines go through a scheduler, RabbitMQ, S3 and several worker processes. Then a scheduler on
an empty ledger and one on a full ledger take turns. The results go to bench/results/scale.json.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from alts.shared.config import Config
from alts.shared.models.ledger import TaskState
from bench.host import host
from bench.http_load import Load, get_results, post_tasks
from tests.chaos.packages import GOOD
from tests.support.checkout import ROOT
from tests.support.rabbitmq import PrivateRabbitMQ
from tests.support.s3 import PrivateS3
from tests.support.stack import ServiceStack, schedule, until, wait_for

RESULTS = ROOT / "bench/results"
THREADS = 8
"""Tasks that a worker process runs at once."""
CLIENTS = 16
SECONDS = 5.0
"""Duration of each load of HTTP requests."""
LEDGER = "ledger.sqlite"
FILL_CACHE_KB = 2_000_000
_PATIENCE = 3600.0  # seconds
_NEW_IDS = """
WITH RECURSIVE numbers(number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < ?)
SELECT lower(printf('%s-%s-4%s-8%s-%s', hex(randomblob(4)), hex(randomblob(2)), substr(hex(randomblob(2)), 2),
                    substr(hex(randomblob(2)), 2), hex(randomblob(6)))) AS id
FROM numbers
"""
"""SQL for that many random ids in the form of a UUID."""
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Moment:
    """The state of the service at one moment of the load test."""

    seconds: float
    finished: int
    """Tasks."""
    cpu: Mapping[str, float]
    """Process → its processor seconds so far."""
    memory: Mapping[str, int]
    """Process → its resident memory in MB."""


@dataclass(frozen=True)
class Ledger:
    """A scheduler on a ledger of some size."""

    finished: int
    queued: int
    size_mb: int
    """Size of the ledger's file."""
    start: float
    """Seconds from the process's start to its first answer."""
    posts: Load
    results: Load


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="alts-bench-")))
        rabbitmq = stack.enter_context(PrivateRabbitMQ())
        s3 = stack.enter_context(PrivateS3())
        moments = load_test(folder, rabbitmq, s3, tasks=options.tasks, workers=options.workers)
        ledgers = [
            look_up(folder, rabbitmq, s3, finished=finished, queued=queued)
            for finished, queued in ((0, 0), (options.finished, options.queued))
        ]
    print(table(moments), ledger_table(ledgers), sep="\n\n")
    RESULTS.mkdir(exist_ok=True)
    result = {"host": host(), "load": [asdict(one) for one in moments], "ledgers": [asdict(one) for one in ledgers]}
    (RESULTS / "scale.json").write_text(json.dumps(result, indent=1) + "\n")
    return 0


def load_test(folder: Path, rabbitmq: PrivateRabbitMQ, s3: PrivateS3, *, tasks: int, workers: int) -> list[Moment]:
    """Run tasks with stub machines. Returns the moments of the run, about a hundred."""
    own = folder / "load"
    own.mkdir()
    with _stack(own, rabbitmq, s3) as service, ExitStack() as running:
        sessions = {"scheduler": service.scheduler.pid, "rabbitmq": rabbitmq.pid, "s3": s3.pid}
        for number in range(workers):
            name = f"worker-{number}"
            worker = running.enter_context(service.worker(name, app="bench.stub_worker", concurrency=THREADS))
            sessions[name] = worker.pid
        begun = time.monotonic()
        moments = [_moment(own, sessions, begun)]
        load = {"count": tasks, "clients": CLIENTS, "package": GOOD.name}
        posting = threading.Thread(target=post_tasks, args=(service.port,), kwargs=load)
        posting.start()
        while moments[-1].finished < tasks:
            if moments[-1].seconds > _PATIENCE:
                raise TimeoutError(f"{moments[-1].finished} of {tasks} tasks have ended")
            time.sleep(max(1.0, moments[-1].seconds / 50))
            moments.append(_moment(own, sessions, begun))
        posting.join()
    return moments


def look_up(folder: Path, rabbitmq: PrivateRabbitMQ, s3: PrivateS3, *, finished: int, queued: int) -> Ledger:
    """Measure a scheduler whose ledger has that many tasks."""
    own = folder / f"ledger-{finished}"
    own.mkdir()
    with _stack(own, rabbitmq, s3) as service, service.client as client:
        with service.worker("worker", app="bench.stub_worker"):
            ended = schedule(client, package_name=GOOD.name)
            wait_for(client, ended)
        waiting = schedule(client, package_name=GOOD.name)
        until(lambda: _count(own, TaskState.QUEUED) == 1, seconds=30)
    fill(own / LEDGER, ended, finished)
    fill(own / LEDGER, waiting, queued)
    size_mb = (own / LEDGER).stat().st_size >> 20
    begun = time.monotonic()
    with _stack(own, rabbitmq, s3) as service:
        start = time.monotonic() - begun
        posts = post_tasks(service.port, seconds=SECONDS, clients=CLIENTS)
        results = get_results(service.port, ended, seconds=SECONDS, clients=CLIENTS)
    return Ledger(finished, queued, size_mb, start, posts, results)


def fill(ledger: Path, example: str, count: int) -> None:
    """Copy a task with its history that many times, under new ids. No process may have the ledger open."""
    if not count:
        return
    with contextlib.closing(sqlite3.connect(ledger)) as db, db:
        # The scheduler turns these on again.
        for setting in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{FILL_CACHE_KB}"):
            db.execute(f"PRAGMA {setting}").fetchall()
        db.execute(f"CREATE TEMP TABLE new AS {_NEW_IDS}", (count,))
        for table, key, left_out in (("tasks", "id", ""), ("history", "task_id", "entry")):
            names = [name for _, name, *_ in db.execute(f"PRAGMA table_info({table})") if name != left_out]
            values = ", ".join("new.id" if name == key else f"old.{name}" for name in names)
            copies = f"SELECT {values} FROM new, {table} AS old WHERE old.{key} = ?"
            db.execute(f"INSERT INTO {table} ({', '.join(names)}) {copies}", (example,))


def _moment(folder: Path, sessions: Mapping[str, int], begun: float) -> Moment:
    used = {name: _used(session) for name, session in sessions.items()}
    return Moment(
        time.monotonic() - begun,
        _count(folder, TaskState.FINISHED),
        cpu={name: cpu for name, (cpu, _) in used.items()},
        memory={name: memory for name, (_, memory) in used.items()},
    )


def _count(folder: Path, state: TaskState) -> int:
    with contextlib.closing(sqlite3.connect(f"file:{folder / LEDGER}?mode=ro", uri=True)) as db:
        return int(db.execute("SELECT count(*) FROM tasks WHERE state = ?", (str(state),)).fetchone()[0])


def _used(session: int) -> tuple[float, int]:
    """Return the processor seconds and the MB of memory of all processes of a session (proc(5), "stat")."""
    ticks, pages = 0, 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session:
                ticks += sum(map(int, fields[11:15]))
                pages += int(fields[21])
    return ticks / _TICKS, pages * _PAGE >> 20


def table(moments: Sequence[Moment]) -> str:
    """Return what each process has cost, and its memory at four moments."""
    first, last = moments[0], moments[-1]
    tasks = last.finished - first.finished
    lines = [f"{tasks} tasks in {last.seconds:.0f} s: {tasks / last.seconds:.1f} a second"]
    quarters = [moments[(len(moments) - 1) * quarter // 4] for quarter in (1, 2, 3, 4)]
    columns = [f"MB at {moment.finished}" for moment in quarters]
    lines.append(f"{'process':<12} {'CPU ms a task':>14} " + " ".join(f"{column:>12}" for column in columns))
    for name in last.cpu:
        cost = (last.cpu[name] - first.cpu[name]) / tasks * 1000
        memory = " ".join(f"{moment.memory[name]:>12}" for moment in quarters)
        lines.append(f"{name:<12} {cost:>14.2f} {memory}")
    return "\n".join(lines)


def ledger_table(ledgers: Sequence[Ledger]) -> str:
    """Return a line for each ledger."""
    lines = [f"{'finished':>9} {'queued':>8} {'MB':>6} {'start':>8} {'POST/s':>8} {'p99':>8} {'GET/s':>8} {'p99':>8}"]
    for one in ledgers:
        loads = " ".join(f"{load.a_second:>8.0f} {load.p99 * 1000:>5.0f} ms" for load in (one.posts, one.results))
        lines.append(f"{one.finished:>9} {one.queued:>8} {one.size_mb:>6} {one.start:>6.1f} s {loads}")
    return "\n".join(lines)


def _stack(folder: Path, rabbitmq: PrivateRabbitMQ, s3: PrivateS3) -> ServiceStack:
    """Its caller has no limits, and the times are those of a real service."""
    return ServiceStack(
        folder,
        rabbitmq,
        s3,
        caller_requests_per_minute=0,
        caller_unfinished_tasks=0,
        **{name: Config.model_fields[name].default for name in ("lease_seconds", "heartbeat_seconds")},
        reconcile_interval=Config.model_fields["reconcile_interval"].default,
    )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--queued", type=int, default=100_000)
    parser.add_argument("--finished", type=int, default=1_000_000)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
