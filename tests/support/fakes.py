"""Hand-written fakes of slow parts and of services. Each passes the contract tests of the real part."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from alts.checks.state.capture import CAPTURE_PATH
from alts.core.command import Completed
from alts.core.instance import MachineRuined
from alts.core.output import BoundedOutput, OutputSink
from alts.core.stop import Stop
from alts.package_managers.apt.sources import ARCHIVES
from alts.pipeline.output_file import OUTPUT_PATH
from alts.runners.base import Machine, MachineRequest, Order, Provisioned
from alts.shared.errors import (
    InfrastructureError,
    InstanceLost,
    LedgerUnavailable,
    ProvisionFailed,
    StaleAttempt,
    StorageUnavailable,
    TaskFinished,
    UnknownTask,
)
from alts.shared.models.ledger import Assignment, TaskState
from alts.shared.models.report import AttemptSummary, Ending, Outcome, Report, StageResult
from alts.shared.models.task_spec import TaskSpec


@dataclass(frozen=True)
class Answer:
    """The result of a fake program."""

    exit_code: int = 0
    output: str = ""
    seconds: float = 0.0
    """Real duration, in seconds."""
    written: Mapping[str, bytes] = field(default_factory=dict)
    """Files that the program writes: path → content."""


Program = Callable[[Sequence[str]], Answer]


class FakeInstance:
    """A machine whose programs are functions. Other programs succeed without output."""

    def __init__(
        self,
        programs: Mapping[str, Program] | None = None,
        *,
        files: Mapping[str, bytes] | None = None,
        dies_at: str | None = None,
        name: str = "fake-1",
    ) -> None:
        self.name = name
        self.commands: list[tuple[str, ...]] = []
        self._programs = programs or {}
        self._files = dict(files or {})
        self._dies_at = dies_at
        self._up = True

    def run(
        self,
        argv: Sequence[str],
        *,
        stop: Stop,
        env: Mapping[str, str] | None = None,
        sink: OutputSink | None = None,
        repeatable: bool = False,
    ) -> Completed:
        if self._dies_at is not None and self._dies_at in argv:
            self.kill()
        if not self._up:
            raise InstanceLost(f"{self.name} is gone")
        self.commands.append(tuple(argv))
        program = self._programs.get(argv[0])
        answer = program(argv) if program else Answer()
        self._files.update(answer.written)
        output = BoundedOutput(sink)
        output.write(answer.output)
        stop.sleep(answer.seconds)
        reason = stop.reason
        return Completed(
            argv=tuple(argv),
            exit_code=None if reason else answer.exit_code,
            output=output.text(),
            seconds=answer.seconds,
            stopped=reason,
        )

    def pull(self, path: str, *, stop: Stop, limit: int) -> bytes:
        if not self._up:
            raise InstanceLost(f"{self.name} is gone")
        if path not in self._files:
            raise FileNotFoundError(path)
        stop.check()
        if len(self._files[path]) > limit:
            raise MachineRuined(None, f"{path} has grown to more than {limit} bytes")
        return self._files[path]

    def alive(self) -> bool:
        return self._up

    def check(self) -> None:
        if not self._up:
            raise InstanceLost(f"{self.name} is gone")

    def close(self) -> None:
        """There is no connection."""

    def kill(self) -> None:
        """End the machine, as if it had been removed from outside."""
        self._up = False


SHA256 = "0123456789abcdef" * 4


class FakeDebian:
    """apt and dpkg of a machine on which `available` (name → version) can be installed."""

    def __init__(self, available: Mapping[str, str] | None = None) -> None:
        self.available = {"hello": "2.10-3"} if available is None else dict(available)
        self.installed: dict[str, str] = {}
        self.modified: set[str] = set()
        self.needs: dict[str, tuple[str, ...]] = {}
        """Package → packages that are installed along with it, and stay."""
        self.takes_along: dict[str, tuple[str, ...]] = {}
        """Package → packages that are removed along with it."""
        self.conffiles: set[str] = set()
        """Packages with conffiles. A removal keeps these, and a purge deletes them."""
        self.unpurged: dict[str, str] = {}
        """Removed packages that are not purged: name → version."""
        self.litter: dict[str, tuple[str, ...]] = {}
        """Package → paths that its scripts write and never remove."""
        self.templates: dict[str, str] = {}
        """Package → its debconf questions."""
        self.paths: set[str] = {"/etc/passwd"}
        self.unlisted: dict[str, str] = {}
        """Package → version that the package lists have after the next update of all of them."""
        self.overrides: dict[str, Answer] = {}
        """Verb (install, remove, update, --verify) → answer that replaces the usual one."""

    @property
    def programs(self) -> Mapping[str, Program]:
        return {
            "apt-get": self._apt_get,
            "apt-cache": self._apt_cache,
            "find": self._find,
            "dpkg-query": self._dpkg_query,
            "dpkg": self._dpkg,
            "/bin/sh": self._shell,
        }

    def _apt_get(self, argv: Sequence[str]) -> Answer:
        for verb, answer in self.overrides.items():
            if verb in argv:
                return answer
        if "--version" in argv:
            return Answer(output="apt 2.6.1 (amd64)\n")
        if "update" in argv:
            self.available |= self.unlisted
        if "install" in argv:
            for word in argv[argv.index("install") + 1 :]:
                name, _, version = word.partition("=")
                self.installed[name] = version or self.available[name]
                self.installed |= dict.fromkeys(self.needs.get(name, ()), "1.0")
                for installed in (name, *self.needs.get(name, ())):
                    self.paths |= set(self.litter.get(installed, ()))
        if "remove" in argv or "purge" in argv:
            names = argv[argv.index("--") + 1 :]
            return self._remove(names, purge="purge" in argv, simulate="--simulate" in argv)
        return Answer()

    def _remove(self, names: Sequence[str], *, purge: bool, simulate: bool) -> Answer:
        gone = [one for name in names for one in (name, *self.takes_along.get(name, ()))]
        if simulate:
            return Answer(output="".join(f"{'Purg' if purge else 'Remv'} {name} [1.0]\n" for name in gone))
        for name in gone:
            had = self.installed.pop(name, None)
            if had and name in self.conffiles:
                self.unpurged[name] = had
        for name in names if purge else ():
            self.unpurged.pop(name, None)
        return Answer()

    def _apt_cache(self, argv: Sequence[str]) -> Answer:
        name = argv[-1].partition("=")[0]
        version = self.available.get(name)
        if version is None:
            return Answer()
        if "show" in argv:
            return Answer(output=f"Package: {name}\nVersion: {version}\nFilename: pool/{name}.deb\nSHA256: {SHA256}\n")
        installed = self.installed.get(name)
        mark = "***" if installed == version else "   "
        return Answer(
            output=f"{name}:\n  Installed: {installed or '(none)'}\n  Candidate: {version}\n  Version table:\n"
            f" {mark} {version} 500\n        500 http://deb.debian.org/debian bookworm/main amd64 Packages\n"
        )

    def _find(self, argv: Sequence[str]) -> Answer:
        """Answer with the checksums of downloaded packages."""
        return Answer(output=f"{SHA256}  /var/cache/apt/alts/hello_2.10-3_amd64.deb\n")

    def _dpkg_query(self, argv: Sequence[str]) -> Answer:
        version = self.installed.get(argv[-1])
        if argv[-1].startswith("--showformat"):
            return Answer(output="".join(f"{name} {version}\n" for name, version in self.installed.items()))
        if version is None:
            return Answer(1, f"dpkg-query: no packages found matching {argv[-1]}\n")
        return Answer(output=f"{argv[-1]}\t{version}\tamd64\tinstalled\n")

    def _shell(self, argv: Sequence[str]) -> Answer:
        """Answer the service's own scripts: the machine's state, all packages' files, removal of paths, questions."""
        if "apt-get" in argv:
            return self._apt_get(argv[argv.index("apt-get") :])
        if CAPTURE_PATH in argv:
            return Answer(written={CAPTURE_PATH: self._capture()})
        if OUTPUT_PATH in argv:
            return Answer(written={OUTPUT_PATH: b""})
        if ARCHIVES in argv:
            return Answer(output=self.templates.get(argv[-1].partition("_")[0], ""))
        if "--" in argv:
            self.paths -= set(argv[: argv.index("--")])
        return Answer()

    def _capture(self) -> bytes:
        packages = "".join(
            f"{name}\t{version}\tamd64\t{status}\n"
            for status, known in (("installed", self.installed), ("config-files", self.unpurged))
            for name, version in known.items()
        )
        files = "".join(f"f\t644\t0\t0\t1\t0\t{path}\0\0" for path in sorted(self.paths))
        sections = {"packages": packages, "users": "root:x:0:0:root:/root:/bin/sh\n", "groups": "root:x:0:\n"}
        sections |= {"self": "2\n", "stat": "1 (sleep) S 0 1 1 0\n", "find": files}
        return "".join(f"\x1e{name}\n{text}" for name, text in sections.items()).encode()

    def _dpkg(self, argv: Sequence[str]) -> Answer:
        if "--verify" not in argv:
            return Answer()
        if answer := self.overrides.get("--verify"):
            return answer
        return Answer(output="".join(f"??5??????   {path}\n" for path in sorted(self.modified)))


@dataclass
class FakeRunner:
    """Yields one prepared instance after another, and counts the machines that are up."""

    instances: list[FakeInstance] = field(default_factory=lambda: [FakeInstance(FakeDebian().programs)])
    failure: InfrastructureError | None = None
    lists_fetched_at: datetime | None = None
    """When the lists in the machines' image were fetched."""
    machines_up: int = 0
    leftovers_removed: list[tuple[str, int]] = field(default_factory=list)
    closed: bool = False
    present: list[Machine] = field(default_factory=list)
    """The machines that the engine lists."""
    holds: set[tuple[str, int]] = field(default_factory=set)
    """What held() returns."""
    away: str = ""
    """The reason why the engine does not answer; empty if it answers."""

    def check(self, spec: TaskSpec, *, stop: Stop) -> None:
        """Accept any task."""

    @contextmanager
    def make(self, request: MachineRequest, *, stop: Stop, log: OutputSink) -> Iterator[Provisioned]:
        if self.failure is not None:
            raise self.failure
        stop.check()
        log("provisioned\n")
        self.machines_up += 1
        try:
            yield Provisioned(
                instance=self.instances.pop(0),
                image={"reference": "debian:12", "id": "sha256:0", "origin": "local"},
                lists_fetched_at=self.lists_fetched_at,
                tools={"terraform": "1.11.4", "ansible": "2.19.14", "docker": "20.10.24"},
            )
        finally:
            self.machines_up -= 1

    def prepare(self, made: Provisioned, order: Order, *, stop: Stop, log: OutputSink) -> Provisioned:
        return made

    def remove_leftovers(self, task_id: str, *, below: int) -> int:
        self.leftovers_removed.append((task_id, below))
        return 0

    def remove_all_of(self, worker: str) -> int:
        return self._remove(lambda machine: machine.worker == worker)

    def machines(self) -> Iterable[Machine]:
        return tuple(self.present)

    def remove(self, task_id: str, attempt: int) -> int:
        return self._remove(lambda machine: (machine.task_id, machine.attempt) == (task_id, attempt))

    def _remove(self, which: Callable[[Machine], bool]) -> int:
        if self.away:
            raise ProvisionFailed(self.away)
        before = len(self.present)
        self.present = [machine for machine in self.present if not which(machine)]
        return before - len(self.present)

    def held(self) -> Collection[tuple[str, int]]:
        return self.holds

    def trouble(self) -> str:
        return self.away

    def folders(self) -> Iterable[Path]:
        return ()

    def close(self) -> None:
        self.closed = True


class FakeStore:
    """Artifacts in memory. The next `refusals` puts fail as if the store were away."""

    def __init__(self, refusals: int = 0) -> None:
        self.content: dict[str, bytes] = {}
        self.refusals = refusals

    def put(self, key: str, content: bytes, *, content_type: str = "") -> None:
        if self.refusals > 0:
            self.refusals -= 1
            raise StorageUnavailable("the fake store is away")
        self.content[key] = content

    def get(self, key: str) -> bytes:
        return self.content[key]

    def location(self, key: str) -> str:
        return f"memory://{key}"

    def check(self) -> None:
        if self.refusals:
            raise StorageUnavailable("the fake store is away")


class FakeSpool(FakeStore):
    """An ArtifactSink in memory; all artifacts are stored at once."""

    def put(self, key: str, content: bytes, *, content_type: str = "", group: str = "") -> None:
        super().put(key, content, content_type=content_type)

    def settle(self, group: str, *, seconds: float) -> bool:
        return True

    def adopt(self, folder: Path) -> int:
        return 0


@dataclass
class FakeTask:
    """The fake ledger's record of a task."""

    spec: TaskSpec
    due_at: float
    state: TaskState = TaskState.ACCEPTED
    outcome: Outcome | None = None
    attempt: int = 0
    released: int = 0
    worker: str | None = None
    claim_key: str = ""
    lease_expires_at: float = 0.0
    cancel_requested: bool = False
    progress: tuple[StageResult, ...] = ()
    report: Report | None = None
    heard: Report | None = None
    declined: int = 0
    avoided: tuple[str, float] = ("", 0.0)
    """A worker that does not get the task while another one is ready, and until when."""
    started_at: float = 0.0
    earlier: tuple[AttemptSummary, ...] = ()


class FakeLedger:
    """A ledger in memory. While `away` is set, every call of a worker finds it unavailable."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        lease_seconds: float = 30.0,
        max_attempts: int = 3,
        retry_delay: float = 0.0,
        retry_elsewhere_seconds: float = 60.0,
    ) -> None:
        self.away = False
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._max_attempts = max_attempts
        self._retry_delay = retry_delay
        self._retry_elsewhere_seconds = retry_elsewhere_seconds
        self._tasks: dict[str, FakeTask] = {}
        self.announced: dict[str, tuple[bool, str, tuple[str, ...], float]] = {}
        """Worker → ready, reason, queues, time of the announcement."""
        self.free: dict[str, int | None] = {}
        """Worker → number of further tasks that it would begin."""

    def add(self, spec: TaskSpec) -> str:
        task_id = str(uuid.uuid4())
        self._tasks[task_id] = FakeTask(spec, due_at=self._clock())
        return task_id

    def get(self, task_id: str) -> FakeTask:
        """Return a snapshot of the task."""
        return replace(self._tasks[task_id])

    def claim(self, task_id: str, *, worker: str, key: str = "") -> Assignment | None:
        self._answer()
        task = self._tasks.get(task_id)
        if task and task.state is TaskState.RUNNING and key and task.claim_key == key:
            return self._assignment(task_id, task)
        if task is None or task.state is not TaskState.ACCEPTED or task.due_at > self._clock():
            return None
        if task.avoided[0] == worker and self._clock() < task.avoided[1] and self._somebody_else(worker):
            task.due_at = self._clock() + 5.0
            return None
        task.state, task.worker, task.progress = TaskState.RUNNING, worker, ()
        task.attempt += 1
        task.claim_key = key
        task.declined = 0
        task.started_at = self._clock()
        task.lease_expires_at = self._clock() + self._lease_seconds
        return self._assignment(task_id, task)

    def decline(self, task_id: str, *, worker: str, reason: str) -> None:
        self._answer()
        task = self._tasks.get(task_id)
        if task and task.state is TaskState.ACCEPTED and task.due_at <= self._clock():
            task.due_at = self._clock() + min(5.0 * 2**task.declined, 60.0)
            task.declined += 1

    def heartbeat(self, task_id: str, attempt: int, *, progress: tuple[StageResult, ...] = ()) -> bool:
        task = self._owned(task_id, attempt)
        task.lease_expires_at = self._clock() + self._lease_seconds
        task.progress = progress or task.progress
        return task.cancel_requested

    def report(self, task_id: str, attempt: int, report: Report) -> Outcome | None:
        if (report.task_id, report.attempt) != (task_id, attempt):
            raise StaleAttempt("the report is for another attempt")
        if task_id in self._tasks and self._tasks[task_id].heard == report:
            return self._tasks[task_id].outcome
        task = self._owned(task_id, attempt)
        task.heard = report
        if task.cancel_requested and report.outcome is Outcome.ERRORED:
            report = replace(report, outcome=Outcome.CANCELLED, retryable=False)
        if report.outcome is Outcome.ERRORED and report.retryable and self._attempts_left(task):
            delay = min(self._retry_delay * 2 ** (task.attempt - task.released - 1), 300.0)
            self._end_attempt(task, Ending.ERRORED, reason=report.reason, artifacts=report.artifacts)
            task.avoided = worker_of(task), self._clock() + delay + self._retry_elsewhere_seconds
            self._accept_again(task, delay=delay)
        else:
            report = replace(report, attempts=task.earlier)
            self._finish(task, report.outcome, report)
        return task.outcome

    def release(self, task_id: str, attempt: int, *, reason: str) -> None:
        task = self._owned(task_id, attempt)
        self._end_attempt(task, Ending.RELEASED, reason=reason)
        if task.cancel_requested:
            self._finish_unreported(task_id, Outcome.CANCELLED)
        else:
            task.released += 1
            self._accept_again(task)

    def announce(
        self, worker: str, *, ready: bool, reason: str = "", queues: Sequence[str] = (), free: int | None = None
    ) -> None:
        self._answer()
        self.free[worker] = free
        self.announced[worker] = ready, reason, tuple(queues), self._clock()

    def over(self, attempts: Sequence[tuple[str, int]]) -> set[tuple[str, int]]:
        self._answer()
        return {(task_id, attempt) for task_id, attempt in attempts if self._is_over(task_id, attempt)}

    def request_cancel(self, task_id: str) -> None:
        """Raises UnknownTask or TaskFinished."""
        task = self._tasks.get(task_id)
        if task is None:
            raise UnknownTask(task_id)
        if task.outcome is Outcome.CANCELLED:
            return
        if task.state is TaskState.FINISHED:
            raise TaskFinished(task_id)
        task.cancel_requested = True
        if task.state is not TaskState.RUNNING:
            self._finish_unreported(task_id, Outcome.CANCELLED)

    def expire_leases(self) -> tuple[str, ...]:
        """Take tasks from workers without heartbeats. Return the tasks' ids."""
        lapsed = [
            task_id
            for task_id, task in self._tasks.items()
            if task.state is TaskState.RUNNING and task.lease_expires_at < self._clock()
        ]
        for task_id in lapsed:
            task = self._tasks[task_id]
            self._end_attempt(task, Ending.LOST, reason=f"the worker {task.worker} stopped answering")
            if task.cancel_requested:
                self._finish_unreported(task_id, Outcome.CANCELLED)
            elif self._attempts_left(task):
                task.avoided = worker_of(task), self._clock() + self._retry_elsewhere_seconds
                self._accept_again(task)
            else:
                self._finish_unreported(task_id, Outcome.ERRORED)
        return tuple(lapsed)

    def _answer(self) -> None:
        if self.away:
            raise LedgerUnavailable("the fake ledger is away")

    def _owned(self, task_id: str, attempt: int) -> FakeTask:
        self._answer()
        task = self._tasks.get(task_id)
        if task is None or task.state is not TaskState.RUNNING or task.attempt != attempt:
            raise StaleAttempt(f"attempt {attempt} no longer owns the task")
        return task

    def _attempts_left(self, task: FakeTask) -> bool:
        return task.attempt - task.released < self._max_attempts

    def _assignment(self, task_id: str, task: FakeTask) -> Assignment:
        return Assignment(
            task_id=task_id,
            attempt=task.attempt,
            spec=task.spec,
            lease_seconds=self._lease_seconds,
            earlier=task.earlier,
        )

    def _somebody_else(self, worker: str) -> bool:
        since = self._clock() - 30
        return any(ready and at > since for name, (ready, _, _, at) in self.announced.items() if name != worker)

    def _is_over(self, task_id: str, attempt: int) -> bool:
        task = self._tasks.get(task_id)
        if task is None or not 1 <= attempt <= task.attempt:
            return False
        return attempt < task.attempt or task.state is not TaskState.RUNNING

    def _end_attempt(self, task: FakeTask, outcome: Ending, *, reason: str, artifacts: str | None = None) -> None:
        summary = AttemptSummary(
            attempt=task.attempt,
            worker=worker_of(task),
            outcome=outcome,
            reason=reason,
            started_at=datetime.fromtimestamp(task.started_at, UTC),
            finished_at=datetime.fromtimestamp(self._clock(), UTC),
            artifacts=artifacts,
        )
        task.earlier = (*task.earlier, summary)

    def _accept_again(self, task: FakeTask, *, delay: float = 0.0) -> None:
        task.state, task.due_at = TaskState.ACCEPTED, self._clock() + delay

    def _finish(self, task: FakeTask, outcome: Outcome, report: Report) -> None:
        task.state, task.outcome, task.report = TaskState.FINISHED, outcome, report

    def _finish_unreported(self, task_id: str, outcome: Outcome) -> None:
        task = self._tasks[task_id]
        report = Report(
            task_id=task_id, attempt=task.attempt, outcome=outcome, reason="no worker", attempts=task.earlier
        )
        self._finish(task, outcome, report)


def worker_of(task: FakeTask) -> str:
    """Return the worker of the last attempt."""
    return task.worker or ""
