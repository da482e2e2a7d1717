"""Measure a cancel, from the request to FINISHED with the machine gone, at random moments of real installs.

    python -m bench.cancel --tries 50 --seed 1 [--full-stack]

The exit code is not zero if the worst try exceeds the limit, which is the service's promise.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import httpx

from alts.shared.config import Config
from tests.support.deb_repository import DEAF, build_deb, serving, write_index
from tests.support.embedded import EmbeddedService
from tests.support.rabbitmq import PrivateRabbitMQ
from tests.support.s3 import PrivateS3
from tests.support.stack import ServiceStack, schedule, until, wait_for

LIMIT = 5.0
"""Limit on the worst try, in seconds."""
TOO_LATE = (httpx.codes.CONFLICT,)


@dataclass(frozen=True)
class Try:
    """One cancelled task."""

    package: str
    moment: str
    """The current stage at the cancel."""
    seconds: float
    outcome: str


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    print(f"seed {options.seed}, {options.tries} tries, {'full stack' if options.full_stack else 'embedded'}")
    with tempfile.TemporaryDirectory(prefix="alts-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        requests = stack.enter_context(_requests(folder))
        client = stack.enter_context(_full_stack(folder) if options.full_stack else _embedded(folder))
        tries = list(_tries(client, requests, random.Random(options.seed), count=options.tries))
    return _say(tries, limit=options.limit)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.cancel", description=__doc__)
    parser.add_argument("--tries", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for the worst try (default: 5)")
    parser.add_argument("--full-stack", action="store_true", help="RabbitMQ, S3 and a worker process of its own")
    return parser


@contextmanager
def _requests(folder: Path) -> Iterator[list[dict[str, Any]]]:
    """Yield the requests: a real package, and one whose scripts ignore signals."""
    repository = folder / "repository"
    repository.mkdir()
    build_deb(repository, "deaf", scripts={"preinst": DEAF, "postinst": DEAF, "prerm": DEAF, "postrm": DEAF})
    write_index(repository)
    with serving(repository) as url:
        yield [
            {"package_name": "hello"},
            {"package_name": "deaf", "repositories": [{"url": url, "trusted": True}]},
        ]


@contextmanager
def _embedded(folder: Path) -> Iterator[httpx.Client]:
    with EmbeddedService(folder, heartbeat_seconds=_default_heartbeat()) as service, service.client as client:
        yield client


@contextmanager
def _full_stack(folder: Path) -> Iterator[httpx.Client]:
    with (
        PrivateRabbitMQ() as rabbitmq,
        PrivateS3() as s3,
        ServiceStack(folder, rabbitmq, s3, heartbeat_seconds=_default_heartbeat()) as stack,
        stack.worker("worker"),
        stack.client as client,
    ):
        yield client


def _default_heartbeat() -> float:
    return float(Config.model_fields["heartbeat_seconds"].default)


def _tries(
    client: httpx.Client, requests: Sequence[dict[str, Any]], chance: random.Random, *, count: int
) -> Iterator[Try]:
    # The length of a whole run, so that every moment of it is equally likely.
    lengths = [_whole_run(client, request) for request in requests]
    engine = docker.from_env()
    try:
        number = 0
        while number < count:
            choice = chance.randrange(len(requests))
            if done := _one(client, engine, requests[choice], after=chance.uniform(0, lengths[choice])):
                number += 1
                print(
                    f"{number:3}  {done.package:<8} {done.moment:<14} {done.seconds:5.2f} s  {done.outcome}", flush=True
                )
                yield done
    finally:
        engine.close()


def _whole_run(client: httpx.Client, request: dict[str, Any]) -> float:
    started = time.monotonic()
    wait_for(client, schedule(client, **request))
    return time.monotonic() - started


def _one(client: httpx.Client, engine: docker.DockerClient, request: dict[str, Any], *, after: float) -> Try | None:
    """Cancel one task. Return None if it had ended before the cancel came."""
    task_id = schedule(client, **request)
    time.sleep(after)
    stages = [stage["stage"] for stage in _task(client, task_id)["progress"]]
    asked = time.monotonic()
    answer = client.post(f"/tasks/{task_id}/cancel")
    if answer.status_code in TOO_LATE:
        return None
    answer.raise_for_status()
    until(lambda: _over(client, engine, task_id), seconds=120, interval=0.02)
    seconds = time.monotonic() - asked
    result = client.get(f"/tasks/{task_id}/result").raise_for_status().json()
    return Try(request["package_name"], f"after {stages[-1]}" if stages else "prepare", seconds, result["outcome"])


def _task(client: httpx.Client, task_id: str) -> dict[str, Any]:
    task: dict[str, Any] = client.get(f"/tasks/{task_id}").raise_for_status().json()
    return task


def _over(client: httpx.Client, engine: docker.DockerClient, task_id: str) -> bool:
    if _task(client, task_id)["phase"] != "finished":
        return False
    return not engine.api.containers(all=True, filters={"label": [f"alts.task={task_id}"]})


def _say(tries: Sequence[Try], *, limit: float) -> int:
    by_moment = defaultdict(list)
    for one in tries:
        by_moment[one.moment].append(one.seconds)
    for moment, seconds in by_moment.items():
        print(f"  {moment:<22} {len(seconds):3} tries, worst {max(seconds):.2f} s")
    seconds = [one.seconds for one in tries]
    late = [one for one in tries if one.outcome != "cancelled"]
    print(
        f"{len(tries)} tries: median {statistics.median(seconds):.2f} s, worst {max(seconds):.2f} s"
        f" (limit {limit:g} s), {len(late)} with another outcome"
    )
    return 0 if max(seconds) <= limit else 1


if __name__ == "__main__":
    sys.exit(main())
