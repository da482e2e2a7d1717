"""A fault of the infrastructure, at whatever moment, is never blamed on the package."""

from __future__ import annotations

import dataclasses
import http.server
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import docker
import pytest

from alts.execution import Executor
from alts.packages import PACKAGE_MANAGERS
from alts.plan import PLANS
from alts.runners.base import Instance, Order
from alts.runners.docker import docker_runner
from alts.shared.report import Outcome, Report
from alts.stages.base import Stage, StageAnswer, StageContext
from alts.stop import Stop
from alts.work_folder import WorkFolder
from tests.acceptance.embedded import ROOT
from tests.builders import TASK_ID, a_config, a_spec
from tests.deb_repository import bridge_address
from tests.fakes import FakeStore

pytestmark = [pytest.mark.docker, pytest.mark.long]

Fault = Callable[[Instance], None]


def in_shell(script: str, *arguments: str) -> Fault:
    """Something that happens to the machine from the inside."""

    def fault(instance: Instance) -> None:
        done = instance.run(["sh", "-c", script, "sh", *arguments], stop=Stop(30))
        assert done.ok, done.output

    return fault


def killed(instance: Instance) -> None:
    client = docker.from_env()
    try:
        client.containers.get(instance.name).remove(force=True)
    finally:
        client.close()


# Every write to what apt and dpkg need ends on a file system that is full: the 64 MiB of /dev/shm.
DISK_FULL = """
mkdir -p /dev/shm/full/dpkg /dev/shm/full/apt &&
cp -a /var/lib/dpkg/. /dev/shm/full/dpkg/ && rm -rf /var/lib/dpkg && ln -s /dev/shm/full/dpkg /var/lib/dpkg &&
rm -rf /var/cache/apt/archives && mkdir /dev/shm/full/archives &&
ln -s /dev/shm/full/archives /var/cache/apt/archives &&
{ dd if=/dev/zero of=/dev/shm/full/all bs=1M; dd if=/dev/zero of=/dev/shm/full/rest bs=1 count=65536; } 2>/dev/null
true
"""

FAULTS: Mapping[str, Callable[[str], Fault]] = {
    "killed": lambda url: killed,
    "dns-gone": lambda url: in_shell("echo nameserver 127.0.0.1 > /etc/resolv.conf"),
    "mirror-503": lambda url: in_shell(
        'find /etc/apt -name "*.list" -o -name "*.sources" | xargs sed -i "s#http://[^ /]*#$1#"; '
        "rm -rf /var/cache/apt/archives/*.deb",
        url,
    ),
    "disk-full": lambda url: in_shell(DISK_FULL),
}

STAGES = [stage.name for stage in PLANS["full"]]


@pytest.fixture(scope="module")
def broken_mirror() -> Iterator[str]:
    """Answers 503 to everything."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(503)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    server = http.server.ThreadingHTTPServer((bridge_address(), 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://{server.server_address[0]!s}:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_ours_never_fails_the_package(tmp_path: Path, broken_mirror: str, name: str, stage: str) -> None:
    report = run_with_fault(tmp_path, stage, FAULTS[name](broken_mirror))

    assert report.outcome in (Outcome.PASSED, Outcome.ERRORED), report
    if name == "killed":
        assert report.outcome is Outcome.ERRORED
        assert report.retryable


def run_with_fault(folder: Path, stage: str, fault: Fault) -> Report:
    """The report of `hello` on Debian 12, with the fault right before the stage's first command."""
    work = WorkFolder(folder / "work")
    work.reset()
    config = a_config(cache_folder=str(ROOT / ".alts/cache"))
    runner = docker_runner(config, worker=work.identity, folder=work.shared)
    plan = [_with_fault(one, fault) if one.name == stage else one for one in PLANS["full"]]
    executor = Executor(
        runner=runner,
        plans={"full": tuple(plan)},
        packages=PACKAGE_MANAGERS,
        artifacts=FakeStore(),
        artifacts_root="artifacts",
        worker="worker-1",
    )
    try:
        with work.attempt(TASK_ID, 1) as attempt:
            order = Order(task_id=TASK_ID, attempt=1, spec=a_spec(plan="full"), work_folder=attempt)
            return executor.execute(order, stop=Stop(300), show=lambda stages: None)
    finally:
        runner.close()
        work.close()


def _with_fault(stage: Stage, fault: Fault) -> Stage:
    """The stage, after the fault has struck its machine."""

    def action(context: StageContext) -> StageAnswer:
        fault(context.instance)
        return stage.action(context)

    return dataclasses.replace(stage, action=action)
