"""A runner whose machines are files: a real worker without containers, at a hundredth of the time."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from alts.core.output import OutputSink
from alts.core.stop import Stop
from alts.runners.base import Machine, MachineRequest, Order, Provisioned
from alts.shared.errors import ProvisionFailed
from alts.shared.models.task_spec import TaskSpec
from tests.chaos.packages import BAD, ERRORS_ALWAYS, ERRORS_ONCE, MISSING, PACKAGES, Package
from tests.support.fakes import Answer, FakeDebian, FakeInstance

MACHINES_FOLDER = "machines"

_BROKEN_SCRIPT = """\
Setting up {name} (1.0) ...
dpkg: error processing package {name} (--configure):
 installed {name} package post-installation script subprocess returned error exit status 1
Errors were encountered while processing:
 {name}
E: Sub-process /usr/bin/dpkg returned an error code (1)
"""
# Rough size in bytes of the files that terraform and ansible write for a machine. A full disk shows here.
_STATE_SIZE = 65_536
_FOR_EVER = 86_400.0  # seconds


class StubInstance(FakeInstance):
    """A machine that is its file."""

    def __init__(self, file: Path) -> None:
        super().__init__(name=file.name)
        self._file = file

    def alive(self) -> bool:
        return self._file.exists()


class StubRunner:
    """A BatchRunner of alts.runners.base. A machine is up while its file is there: `<task>.<attempt>.<worker>`."""

    def __init__(self, folder: Path, *, worker: str) -> None:
        """`folder` is the run's, for machines. `worker` is the identity."""
        self._machines = folder / MACHINES_FOLDER
        self._machines.mkdir(exist_ok=True)
        self._worker = worker

    def check(self, spec: TaskSpec, *, stop: Stop) -> None:
        """Accept any task."""

    @contextmanager
    def make(self, request: MachineRequest, *, stop: Stop, log: OutputSink) -> Iterator[Provisioned]:
        made = self._made(request, request.work_folder, stop)
        log("stub machine made\n")
        try:
            yield made
        finally:
            self.remove(request.task_id, request.attempt)

    def is_outdated(self, request: MachineRequest, made: Provisioned) -> bool:
        return False

    def make_ready(
        self, requests: Sequence[MachineRequest], *, folder: Path, stop: Stop, log: OutputSink
    ) -> Sequence[Provisioned]:
        try:
            return tuple(self._made(request, folder, stop) for request in requests)
        except BaseException:
            for request in requests:
                self.remove(request.task_id, request.attempt)
            raise

    def _made(self, request: MachineRequest, folder: Path, stop: Stop) -> Provisioned:
        (folder / "terraform.tfstate").write_bytes(bytes(_STATE_SIZE))
        stop.sleep(_dice(request).uniform(0.01, 0.1))
        stop.check()
        name = f"{request.task_id}.{request.attempt}.{self._worker}"
        (self._machines / name).touch()
        instance = StubInstance(self._machines / name)
        return Provisioned(instance=instance, image={"reference": "stub", "origin": "local"}, tools={"stub": "1"})

    def prepare(self, made: Provisioned, order: Order, *, stop: Stop, log: OutputSink) -> Provisioned:
        package = PACKAGES[order.spec.package_name]
        if package is ERRORS_ALWAYS or (package is ERRORS_ONCE and order.attempt == 1):
            raise ProvisionFailed("the stub machine was told not to come")
        return replace(made, instance=_instance(package, seconds=_dice(order).uniform(*package.seconds)))

    def remove_leftovers(self, task_id: str, *, below: int) -> int:
        return self._remove(
            path for path in self._machines.glob(f"{task_id}.*") if int(path.name.split(".")[1]) < below
        )

    def remove_all_of(self, worker: str) -> int:
        return self._remove(self._machines.glob(f"*.{worker}"))

    def machines(self) -> Iterable[Machine]:
        for path in self._machines.iterdir():
            task_id, attempt, worker = path.name.split(".")
            yield Machine(worker, task_id, int(attempt))

    def remove(self, task_id: str, attempt: int) -> int:
        return self._remove(self._machines.glob(f"{task_id}.{attempt}.*"))

    def held(self) -> Collection[tuple[str, int]]:
        return ()

    def trouble(self) -> str:
        return ""

    def folders(self) -> Iterable[Path]:
        return ()

    def close(self) -> None:
        """Nothing is held for all tasks."""

    def _remove(self, paths: Iterable[Path]) -> int:
        count = 0
        for path in paths:
            path.unlink(missing_ok=True)
            count += 1
        return count


def _dice(of: MachineRequest | Order) -> random.Random:
    return random.Random(f"{of.task_id}-{of.attempt}")


def _instance(package: Package, *, seconds: float) -> FakeInstance:
    debian = FakeDebian({} if package is MISSING else {package.name: "1.0"})
    apt_get = debian.programs["apt-get"]

    def timed_apt_get(argv: Sequence[str]) -> Answer:
        if "install" not in argv:
            return apt_get(argv)
        if package is BAD:
            return Answer(100, _BROKEN_SCRIPT.format(name=package.name), seconds=seconds)
        return replace(apt_get(argv), seconds=_FOR_EVER if package.endless else seconds)

    return FakeInstance({**debian.programs, "apt-get": timed_apt_get}, name=f"stub-{package.name}")
