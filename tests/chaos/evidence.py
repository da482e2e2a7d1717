"""The evidence of a run: ledger, journal, bucket and host, collected after its end. This module decides nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.callers import Asked
from tests.chaos.journal import Entry, Journal
from tests.chaos.ledger_file import LedgerTask, tasks_of
from tests.chaos.private_engine import PrivateEngine
from tests.chaos.stub_runner import MACHINES_FOLDER
from tests.chaos.world import LEASE_SECONDS, MAX_ATTEMPTS, World

_ENGINES_OWN = ("bridge", "host", "none")


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Everything that the invariants examine."""

    asked: Sequence[Asked]
    tasks: Sequence[LedgerTask]
    executions: Sequence[Entry]
    killed: Mapping[int, float] = field(default_factory=dict)
    """Process id of a worker → the time of its kill."""
    objects: Mapping[str, bytes] = field(default_factory=dict)
    """Objects in the bucket: key → content, which is empty unless it is JSON."""
    left: Sequence[str] = ()
    """Leftovers that should be gone."""
    trouble: Sequence[str] = ()
    """Failures that the suite itself saw."""
    max_attempts: int
    lease_seconds: float
    times_are_true: bool = True
    """Whether no fault set the scheduler's clock. If one did, the times in the history prove nothing."""


def collect(world: World, asked: Sequence[Asked], *, trouble: Sequence[str]) -> Evidence:
    """Collect the evidence. Call it after the service's end, and before its folder is removed."""
    return Evidence(
        asked=asked,
        tasks=tasks_of(world.ledger),
        executions=Journal(world.folder).read(),
        killed={pid: at for service in world.services.values() for pid, at in service.killed.items()},
        objects=objects_of(world),
        left=leftovers(world),
        trouble=trouble,
        max_attempts=MAX_ATTEMPTS,
        lease_seconds=LEASE_SECONDS,
        times_are_true=not world.plan.sets_clock_of("scheduler"),
    )


def objects_of(world: World) -> dict[str, bytes]:
    """Return the bucket's keys, with the content of reports and summaries."""
    client = world.bucket_client
    found: dict[str, bytes] = {}
    try:
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=world.bucket):
            for entry in page.get("Contents", ()):
                key = entry["Key"]
                wanted = key.endswith("/report.json") or "celery-task-meta-" in key
                found[key] = client.get_object(Bucket=world.bucket, Key=key)["Body"].read() if wanted else b""
    except client.exceptions.NoSuchBucket:
        return {}
    return found


def report_in(objects: Mapping[str, bytes], task_id: str, attempt: int) -> Mapping[str, Any] | None:
    """Return the stored report of an attempt."""
    content = objects.get(f"artifacts/{task_id}/{attempt}/report.json")
    return None if content is None else json.loads(content)


def summary_in(objects: Mapping[str, bytes], task_id: str) -> Mapping[str, Any] | None:
    """Return Celery's record of a task."""
    content = objects.get(f"results/celery-task-meta-{task_id}")
    return None if content is None else json.loads(content)


def leftovers(world: World) -> list[str]:
    """List everything that an ended service must not leave."""
    machines = sorted((world.folder / MACHINES_FOLDER).glob("*"))
    return [
        *(f"machine {path.name}" for path in machines),
        *(f"work folder {path}" for path in sorted(world.folder.glob("disk/*/*/tasks/*"))),
        *(f"shared folder {path}" for path in sorted(world.folder.glob("disk/*/*/shared/*"))),
        *(f"on its way to store or ledger {path}" for path in on_their_way(world)),
        *(f"process {command}" for command in processes_of(world.folder)),
        *(on_the_engine(world.servers.engine) if world.servers.engine else ()),
    ]


def on_their_way(world: World) -> list[Path]:
    """List the files that workers kept on their disks for a store or a ledger that was away."""
    return sorted(path for folder in ("spool", "reports") for path in world.folder.glob(f"disk/*/*/{folder}/*"))


def on_the_engine(engine: PrivateEngine) -> list[str]:
    """List all objects on the suite's engine. Only the runs make objects there."""
    with closing(engine.client()) as client:
        return [
            *(f"container {container.name}" for container in client.containers.list(all=True)),
            *(f"volume {volume.name}" for volume in client.volumes.list()),
            *(f"network {network.name}" for network in client.networks.list() if network.name not in _ENGINES_OWN),
        ]


def processes_of(folder: Path) -> list[str]:
    """Return the command lines of the processes that name the folder in environment or command, or work in it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) == os.getpid():
            continue
        with suppress(OSError):
            known = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
            # The slash tells "seed-4" from "seed-40".
            if f"{folder}/".encode() in known or f"{(process / 'cwd').readlink()}/".startswith(f"{folder}/"):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return found
