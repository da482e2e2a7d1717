"""Hand-written stand-ins for what is slow or needs a service. Each passes the contract suite of the real thing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from alts.command import BoundedOutput, Completed, OutputSink
from alts.runners.base import Order, Provisioned
from alts.shared.errors import InfrastructureError, InstanceLost, StorageUnavailable
from alts.stop import Stop


@dataclass(frozen=True)
class Answer:
    """What a fake program does."""

    exit_code: int = 0
    output: str = ""
    seconds: float = 0.0
    """How long it takes, in the time that really passes."""


Program = Callable[[Sequence[str]], Answer]


class FakeInstance:
    """A machine whose programs are functions; what is not among them ends well and says nothing."""

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
        self._files = files or {}
        self._dies_at = dies_at
        self._up = True

    def run(
        self,
        argv: Sequence[str],
        *,
        stop: Stop,
        env: Mapping[str, str] | None = None,
        sink: OutputSink | None = None,
    ) -> Completed:
        if self._dies_at is not None and self._dies_at in argv:
            self.kill()
        if not self._up:
            raise InstanceLost(f"{self.name} is gone")
        self.commands.append(tuple(argv))
        program = self._programs.get(argv[0])
        answer = program(argv) if program else Answer()
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

    def pull(self, path: str) -> bytes:
        if not self._up:
            raise InstanceLost(f"{self.name} is gone")
        if path not in self._files:
            raise FileNotFoundError(path)
        return self._files[path]

    def alive(self) -> bool:
        return self._up

    def kill(self) -> None:
        """End the machine, as if somebody had removed it."""
        self._up = False


class FakeDebian:
    """apt and dpkg of a machine on which `available` (name → version) can be installed."""

    def __init__(self, available: Mapping[str, str] | None = None) -> None:
        self.available = {"hello": "2.10-3"} if available is None else dict(available)
        self.installed: dict[str, str] = {}
        self.modified: set[str] = set()
        self.overrides: dict[str, Answer] = {}
        """Verb (install, remove, update, --verify) → what to answer instead."""

    @property
    def programs(self) -> Mapping[str, Program]:
        return {
            "apt-get": self._apt_get,
            "apt-cache": self._apt_cache,
            "dpkg-query": self._dpkg_query,
            "dpkg": self._dpkg,
        }

    def _apt_get(self, argv: Sequence[str]) -> Answer:
        for verb, answer in self.overrides.items():
            if verb in argv:
                return answer
        if "--version" in argv:
            return Answer(output="apt 2.6.1 (amd64)\n")
        if "install" in argv:
            name, _, version = argv[-1].partition("=")
            self.installed[name] = version or self.available[name]
        if "remove" in argv:
            self.installed.pop(argv[-1], None)
        return Answer()

    def _apt_cache(self, argv: Sequence[str]) -> Answer:
        version = self.available.get(argv[-1])
        if "policy" not in argv or version is None:
            return Answer()
        return Answer(
            output=f"{argv[-1]}:\n  Installed: (none)\n  Candidate: {version}\n  Version table:\n"
            f"     {version} 500\n        500 http://deb.debian.org/debian bookworm/main amd64 Packages\n"
        )

    def _dpkg_query(self, argv: Sequence[str]) -> Answer:
        version = self.installed.get(argv[-1])
        if argv[-1].startswith("--showformat"):
            return Answer(output="".join(f"{name} {version}\n" for name, version in self.installed.items()))
        if version is None:
            return Answer(1, f"dpkg-query: no packages found matching {argv[-1]}\n")
        return Answer(output=f"{argv[-1]}\t{version}\tamd64\tinstalled\n")

    def _dpkg(self, argv: Sequence[str]) -> Answer:
        if "--verify" not in argv:
            return Answer()
        if answer := self.overrides.get("--verify"):
            return answer
        return Answer(output="".join(f"??5??????   {path}\n" for path in sorted(self.modified)))


@dataclass
class FakeRunner:
    """Gives one prepared instance after another; knows how many are up."""

    instances: list[FakeInstance] = field(default_factory=lambda: [FakeInstance(FakeDebian().programs)])
    failure: InfrastructureError | None = None
    machines_up: int = 0
    leftovers_removed: list[tuple[str, int]] = field(default_factory=list)
    closed: bool = False

    @contextmanager
    def provision(self, order: Order, *, stop: Stop, log: OutputSink) -> Iterator[Provisioned]:
        if self.failure is not None:
            raise self.failure
        stop.check()
        log("provisioned\n")
        self.machines_up += 1
        try:
            yield Provisioned(
                instance=self.instances.pop(0),
                image={"reference": "debian:12", "id": "sha256:0", "origin": "local"},
                tools={"terraform": "1.11.4", "ansible": "2.19.14", "docker": "20.10.24"},
            )
        finally:
            self.machines_up -= 1

    def remove_leftovers(self, task_id: str, *, below: int) -> int:
        self.leftovers_removed.append((task_id, below))
        return 0

    def remove_all_of(self, worker: str) -> int:
        return 0

    def close(self) -> None:
        self.closed = True


class FakeStore:
    """Artifacts in memory; `refusals` is how many of the next puts find the store away."""

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
