"""docs/findings.md says what the code says: every kind, whose fault it is, its outcome, and messages as they are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pydantic import ValidationError

from alts.checks.integrity.elf import X86_64, Elf
from alts.checks.integrity.interpreters import interpreter_finding, loader_finding
from alts.checks.integrity.libraries import LoaderView, library_findings
from alts.checks.integrity.links import link_findings
from alts.checks.integrity.search_path import search_path_findings
from alts.checks.leftovers.find import find_leftovers
from alts.checks.state.rules import Rules
from alts.checks.state.snapshot import FileState, Process, Snapshot
from alts.checks.state.tree import Tree
from alts.core.command import Completed
from alts.core.instance import Instance
from alts.core.output import OutputSink
from alts.core.stop import Stop, Stopped, StopReason
from alts.package_managers.apt.manager import Apt
from alts.package_managers.base import Candidate
from alts.package_managers.dnf.manager import Dnf
from alts.package_managers.served import Served, no_metadata
from alts.pipeline.context import StageContext
from alts.pipeline.plans import STANDARD, with_timeouts
from alts.pipeline.run import PlanResult, Run, run_plan
from alts.pipeline.stage import Stage, StageAnswer
from alts.provisioning.signing_keys import with_keys
from alts.runners.docker.subnets import free_subnet
from alts.shared.errors import AltsError, MissingScope, TooManyRequests, UnsupportedPlatform
from alts.shared.models.ledger import TaskState
from alts.shared.models.report import Finding, Kind, Outcome, Severity, outcome_of_findings, reason_of_stages
from alts.shared.models.routing import queue_for
from alts.worker.composition import create_worker_app
from scheduler.api.errors import RESPONSES, STATUS
from scheduler.api.strict_json import read_json
from scheduler.ledger.closing_report import cancelled, not_readable, worker_lost
from scheduler.ledger.task_row import TaskRow
from tests.support.builders import TASK_ID, a_config, a_spec
from tests.support.fakes import Answer, FakeDebian, FakeInstance

PAGE = Path(__file__).parents[2] / "docs" / "findings.md"
BROUGHT = "http://repository.example/debian"
BROUGHT_RPM = "http://repository.example/rpm"
FILE = FileState("f", 0o644, 0, 0, 10, 1)
FOLDER = FileState("d", 0o755, 0, 0, 0, 0)
GOOD_LOADER = "/lib64/ld-linux-x86-64.so.2"
UNMET = "The following packages have unmet dependencies:\n"
EVENTS = (
    "==> /sys/fs/cgroup/memory.events <==\noom {oom}\noom_kill {oom}\n\n==> /sys/fs/cgroup/pids.events <==\nmax {max}\n"
)


class Row(NamedTuple):
    """A line of the table of findings."""

    kind: str
    fault: str
    outcome: str
    message: str


def section(title: str) -> str:
    _, _, rest = PAGE.read_text(encoding="utf-8").partition(f"\n## {title}\n")
    return rest.partition("\n## ")[0]


def tables(text: str) -> list[list[str]]:
    """The cells of every row, without the heads of the tables and without backticks around a whole cell."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    heads = {number for number, line in enumerate(lines) if line.startswith("|---")}
    rows = [line for number, line in enumerate(lines) if not heads & {number, number + 1}]
    return [[re.sub(r"^`(.*)`$", r"\1", cell.strip()) for cell in row[1:-1].split("|")] for row in rows]


def rows() -> list[Row]:
    return [Row(*cells[:4]) for cells in tables(section("Kinds of findings")) if len(cells) == 5]


def row_of(finding: Finding) -> Row:
    """The row that the page must have for a finding."""
    weight = "" if finding.severity is Severity.ERROR else f" ({finding.severity})"
    fault = "ours" if finding.kind.ours else "package"
    return Row(finding.kind, fault, f"{outcome_of_findings([finding])}{weight}", finding.message)


def test_every_kind_has_a_row_and_no_row_is_of_another_kind() -> None:
    assert {row.kind for row in rows()} == set(Kind)


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row.kind}: {row.message}"[:80])
def test_a_row_names_the_fault_and_the_outcome_that_the_code_computes(row: Row) -> None:
    severity = Severity((re.findall(r"\((.*)\)", row.outcome) or ["error"])[0])

    assert row == row_of(Finding(kind=Kind(row.kind), message=row.message, severity=severity))


def test_every_kind_decides_an_outcome_in_one_of_its_rows() -> None:
    assert {row.kind for row in rows() if row.outcome in ("failed", "errored")} == set(Kind)


# What the package managers say.

DEB = a_spec(repositories=[{"url": f"{BROUGHT} bookworm main"}])
RPM = a_spec(dist_name="rpm-standin", dist_version="9", repositories=[{"url": BROUGHT_RPM, "trusted": True}])
HELLO = Candidate("2.10-3", "")


def done(output: str, exit_code: int = 100) -> Completed:
    return Completed(argv=("apt-get",), exit_code=exit_code, output=output, seconds=0.1)


def apt(output: str) -> tuple[Finding, ...]:
    return Apt().install(DEB, HELLO).judge(done(output))


def dnf(output: str) -> tuple[Finding, ...]:
    return Dnf().install(RPM, HELLO).judge(done(output, 1))


def explained(unmet: str, *, depends: str = "", policy: str = "", show: str = "") -> tuple[Finding, ...]:
    failed = done(f"{UNMET} {unmet}\nE: Unable to correct problems, you have held broken packages.\n")
    graph = f"hello\n{depends}"
    return Apt().why(a_spec(), failed).read([graph, policy, show])


def candidate(name: str, version: str) -> str:
    return f"{name}:\n  Installed: (none)\n  Candidate: {version}\n  Version table:\n"


def script_in(package: str, said: str = "", status: int = 3) -> str:
    script = f"installed {package} package post-installation script subprocess"
    fetched = f"Get:1 http://deb.debian.org/debian bookworm/main amd64 {package} all 1.0 [1 kB]\n"
    return f"{fetched}{said}dpkg: error processing package {package}:\n {script} returned error exit status {status}\n"


SAID: Mapping[str, Callable[[], Iterable[Finding]]] = {
    "unknown name": lambda: apt("E: Unable to locate package hello\n"),
    "unknown version": lambda: apt("E: Version '9.9' for 'hello' was not found\n"),
    "chain": lambda: explained(
        "middle : Depends: nothing-has-this (>= 7) but it is not installable",
        depends="  Depends: middle\nmiddle\n  Depends: <nothing-has-this>\n",
    ),
    "older": lambda: explained(
        "hello : Depends: good (>= 3) but it is not going to be installed", policy=candidate("good", "1.0")
    ),
    "excluded": lambda: explained(
        "hello : Depends: good (>= 3) but it is not going to be installed", policy=candidate("good", "4.0")
    ),
    "virtual": lambda: explained("hello : Depends: perlapi-5.32.0", depends="  Depends: <perlapi-5.32.0>\n"),
    "breaks": lambda: explained(
        "libc-bin : Depends: libc6 but it is not going to be installed", show="Package: hello\nBreaks: libc6\n"
    ),
    "protected": lambda: dnf(
        "Error:\n Problem: The operation would result in removing the following protected packages: dnf\n"
    ),
    "essential": lambda: apt("E: Essential packages were removed and -y was used without --allow-remove-essential.\n"),
    "conflict": lambda: apt("dpkg: regarding hello.deb containing hello: other conflicts with hello\n"),
    "file": lambda: apt(" trying to overwrite '/usr/bin/hi', which is also in package other 2\n"),
    "script": lambda: apt(script_in("hello")),
    "mounted": lambda: apt(
        script_in("resolvconf", "ln: failed to create symbolic link '/etc/resolv.conf': Device or resource busy\n", 1)
    ),
    "post": lambda: dnf("Running transaction\nwarning: %post(hello-1.0-1.noarch) scriptlet failed, exit status 3\n"),
    "unsigned repository": lambda: apt(f"E: The repository '{BROUGHT} bookworm Release' is not signed.\n"),
    "no key": lambda: dnf("Problem repository: alts-1\n"),
    "unsigned package": lambda: dnf(
        " hello  noarch  1.0-1  alts-1  7 k\nPackage hello-1.0-1.noarch.rpm is not signed\n"
    ),
    "checksum": lambda: apt(f"E: Failed to fetch {BROUGHT}/pool/h.deb  Hash Sum mismatch\n"),
    "no reason": lambda: apt("E: something is wrong\n"),
    "damaged": lambda: apt(
        "dpkg: error processing archive /var/cache/apt/alts/hello_1_all.deb (--unpack):\n"
        " dpkg-deb --control subprocess returned error exit status 2\n"
    ),
    "removal": lambda: Apt().remove(DEB).judge(done("E: something is wrong\n")),
    "missing": lambda: Apt().verify(DEB).judge(done("missing     /usr/share/doc/hello/copyright\n", 0)),
    "changed": lambda: Apt().verify(DEB).judge(done("??5??????   /usr/share/hello/readme\n", 0)),
    "conffile": lambda: Apt().verify(DEB).judge(done("??5?????? c /etc/hello.conf\n", 0)),
    "not verified": lambda: Apt().verify(DEB).judge(done("", 1)),
    "away": lambda: (
        Apt()
        .refresh(DEB)
        .judge(done("E: Failed to fetch http://deb.debian.org/debian/dists/bookworm/InRelease  503  Unavailable\n"))
    ),
    "no release": lambda: apt(f"E: The repository '{BROUGHT} bookworm Release' does not have a Release file.\n"),
    "page": lambda: [no_metadata(BROUGHT, "InRelease", Served("InRelease", 15, b"<!doctype html>"))],
    "disk": lambda: apt("E: Write error - write (28: No space left on device)\n"),
}


# What the checks say.


def tree(**links: str) -> Tree:
    files = {"/": FOLDER, "/usr": FOLDER, "/usr/bin": FOLDER, GOOD_LOADER: FILE, "/usr/bin/env": FILE}
    return Tree(files | {path: FileState("l", 0o777, 0, 0, 1, 1, target) for path, target in links.items()})


def checked_link() -> Iterable[Finding]:
    path = "/usr/share/hello/link"
    links = tree(**{path: "../nowhere/file"})
    return link_findings([path], links, may_be=lambda _: False, own=lambda _: False, complete=True)


def checked_library(*elsewhere: str) -> Iterable[Finding]:
    kinds = dict.fromkeys(elsewhere, X86_64)
    view = LoaderView(Tree(dict.fromkeys(elsewhere, FILE)), X86_64, {}, kinds)
    return library_findings("/usr/bin/hi", Elf(needed=("libhi.so.1",), interpreter=GOOD_LOADER), view)


def left(
    *,
    before: Mapping[str, FileState] | None = None,
    after: Mapping[str, FileState] | None = None,
    owned: frozenset[str] = frozenset(),
    **state: Any,
) -> list[Finding]:
    old, new = Snapshot(files=dict(before or {})), Snapshot(files=dict(after or {}), **state)
    return [one.finding for one in find_leftovers(old, new, Rules(), owned=owned)]


def found(*findings: Finding | None) -> list[Finding]:
    return [finding for finding in findings if finding is not None]


CHECKED: Mapping[str, Callable[[], Iterable[Finding]]] = {
    "interpreter": lambda: found(interpreter_finding("/usr/bin/hi", b"#!/usr/bin/env python2\n", tree())),
    "loader": lambda: found(loader_finding("/usr/bin/hi", Elf(interpreter="/lib/ld-musl-x86_64.so.1"), tree())),
    "link": checked_link,
    "library": checked_library,
    "library elsewhere": lambda: checked_library("/opt/hi/libhi.so.1"),
    "writable": lambda: search_path_findings("/usr/bin/hi", Elf(runpath="/tmp/lib"), tree()),
    "build": lambda: search_path_findings("/usr/bin/hi", Elf(runpath="/home/me/lib"), tree()),
    "left": lambda: left(after={"/etc/hello": FOLDER, "/etc/hello/conf": FILE}),
    "empty": lambda: left(after={"/srv/hello": FOLDER}),
    "changed": lambda: left(before={"/etc/hosts": FILE}, after={"/etc/hosts": FILE._replace(size=11)}),
    "other's": lambda: left(
        before={"/usr/bin/env": FILE},
        after={"/usr/bin/env": FILE._replace(mode=0o4755)},
        owned=frozenset({"/usr/bin/env"}),
    ),
    "gone": lambda: left(before={"/etc/motd": FILE}),
    "user": lambda: left(users={"hello": "999:999::/:/bin/sh"}, groups={"hello": "999:"}),
    "process": lambda: left(processes=(Process(9, 1, "sleep 86400"),)),
}


# What a run says.


def run(
    instance: Instance,
    plan: tuple[Stage, ...] = STANDARD,
    provide: Callable[[Stop, OutputSink], Instance] | None = None,
    **spec: object,
) -> PlanResult:
    return run_plan(
        plan,
        Run(
            spec=a_spec(**spec),
            packages=Apt(),
            stop=Stop(60),
            provide=provide or (lambda stop, log: instance),
            keep_log=lambda stage, text: None,
            show=lambda stages: None,
        ),
    )


def findings_of(result: PlanResult) -> list[Finding]:
    return [finding for stage in result.stages for finding in stage.findings]


def on_debian(
    available: Mapping[str, str] | None = None,
    *,
    counted: str = "",
    package_version: str | None = None,
    **verbs: Answer,
) -> PlanResult:
    """Test hello on a machine whose apt-get answers to these verbs as given."""
    debian = FakeDebian(available)
    debian.overrides |= verbs
    programs = {**debian.programs, "tail": lambda argv: Answer(output=counted)}
    return run(FakeInstance(programs), package_version=package_version)


def another_version() -> PlanResult:
    debian = FakeDebian()
    debian.overrides["install"] = Answer()
    debian.installed["hello"] = "1.0"
    return run(FakeInstance(debian.programs))


def another_content() -> PlanResult:
    sums = Answer(output=f"{'f' * 64}  /var/cache/apt/alts/h.deb\n")
    return run(FakeInstance({**FakeDebian().programs, "find": lambda argv: sums}))


def too_slow() -> PlanResult:
    def hang(context: StageContext) -> StageAnswer:
        raise Stopped(StopReason.DEADLINE)

    return run(
        FakeInstance(), (Stage("install", hang, timeout=900, overrun=Kind.TIMEOUT, failing=Kind.INSTALL_FAILED),)
    )


def no_network() -> PlanResult:
    def provide(stop: Stop, log: OutputSink) -> Instance:
        raise AssertionError(free_subnet("10.213.0.0/24", ["10.213.0.0/24"]))

    return run(FakeInstance(), provide=provide)


def no_signing_key() -> PlanResult:
    spec = a_spec(repositories=[{"url": BROUGHT, "gpg_key": "http://repository.example/key.asc"}])

    def provide(stop: Stop, log: OutputSink) -> Instance:
        raise AssertionError(with_keys(spec, stop=stop, fetch=lambda address, stop: b"<html>"))

    return run(FakeInstance(), provide=provide)


KILLED = " installed hello package post-installation script subprocess returned error exit status 137\n"

RUNS: Mapping[str, Callable[[], PlanResult]] = {
    "no package": lambda: on_debian({}),
    "no version": lambda: on_debian(package_version="9.9"),
    "another version": another_version,
    "another content": another_content,
    "pretended": lambda: on_debian(install=Answer()),
    "stays": lambda: on_debian(remove=Answer()),
    "too slow": too_slow,
    "memory": lambda: on_debian(counted=EVENTS.format(oom=1, max=0), install=Answer(100, KILLED)),
    "processes": lambda: on_debian(counted=EVENTS.format(oom=0, max=9), install=Answer(100, "sh: 1: Cannot fork\n")),
    "no network": no_network,
    "no signing key": no_signing_key,
}


def task(**changes: Any) -> TaskRow:
    fields: dict[str, Any] = {
        **dict.fromkeys(TaskRow.__dataclass_fields__),
        "task_id": TASK_ID,
        "spec_json": a_spec().model_dump_json(),
        "progress_json": "[]",
        "state": TaskState.FINISHED,
        "attempt": 3,
        "worker": "worker-1",
    }
    return TaskRow(**fields | changes)


@pytest.mark.parametrize("produce", [*SAID.values(), *CHECKED.values()], ids=[*SAID, *CHECKED])
def test_an_example_is_what_package_managers_and_checks_say(produce: Callable[[], Iterable[Finding]]) -> None:
    [finding] = produce()

    assert row_of(finding) in rows()


@pytest.mark.parametrize("produce", RUNS.values(), ids=RUNS)
def test_an_example_is_what_a_run_says(produce: Callable[[], PlanResult]) -> None:
    [finding] = findings_of(produce())

    assert row_of(finding) in rows()


def test_most_kinds_have_an_example_that_the_code_has_said() -> None:
    said = {finding.kind for produce in (*SAID.values(), *CHECKED.values()) for finding in produce()}
    said |= {finding.kind for produce in RUNS.values() for finding in findings_of(produce())}

    assert set(Kind) - said == {Kind.DISK_LIMIT_EXCEEDED, Kind.IMAGE_UNAVAILABLE, Kind.INSTANCE_LOST}


# Reasons.


def reasons() -> list[str]:
    return [cells[0] for cells in tables(section("Reasons of a report"))]


def test_the_reason_of_a_report_is_as_described() -> None:
    result = on_debian(install=Answer(100, "E: something is wrong\n"))

    assert reason_of_stages(result.stages) in reasons()
    assert {stage.reason for stage in result.stages if stage.outcome is Outcome.SKIPPED} <= {*reasons()}


def test_reports_that_no_worker_wrote_are_as_described() -> None:
    reports = [
        worker_lost(task(), now=0),
        not_readable(task(), now=0),
        cancelled(task(attempt=0, worker=None), now=0),
    ]

    assert {report.reason for report in reports} <= {*reasons()}
    assert {row_of(finding) for finding in reports[0].stages[0].findings} <= {*rows()}


# API errors.


def problems() -> list[tuple[str, str, str]]:
    return [(status, type_, example) for status, type_, example, _ in tables(section("API errors"))]


def test_every_status_of_an_error_is_described() -> None:
    described = {int(status) for status, _, _ in problems()}

    assert described == {*STATUS.values(), *RESPONSES, 422, 431, 500}


def no_runner() -> None:
    queue_for(a_spec(), {})


def refuse(error: AltsError) -> Callable[[], None]:
    def refused() -> None:
        raise error

    return refused


@pytest.mark.parametrize(
    ("refused", "status", "type_"),
    [
        (no_runner, STATUS[UnsupportedPlatform], "unsupported_platform"),
        (refuse(MissingScope("tasks:write")), STATUS[MissingScope], ""),
        (refuse(TooManyRequests("more than 600 requests per minute", retry_after=3)), STATUS[TooManyRequests], ""),
    ],
    ids=["platform", "scope", "rate"],
)
def test_a_refusal_is_as_described(refused: Callable[[], None], status: int, type_: str) -> None:
    with pytest.raises(AltsError) as refusal:
        refused()

    assert (str(status), type_, str(refusal.value)) in problems()


@pytest.mark.parametrize(
    "changes",
    [
        {"dist_name": "hannah-montana"},
        {"repositories": [{"url": BROUGHT, "trusted": True, "gpg_key": "http://repository.example/key.asc"}]},
        {"repositories": [{"url": "http://me:secret@repository.example/debian"}]},
        {"package_name": ...},
        {"colour": "blue"},
    ],
    ids=["distribution", "two ways to trust", "credentials", "missing", "extra"],
)
def test_a_wrong_field_is_as_described(changes: dict[str, Any]) -> None:
    fields = {"dist_name": "debian", "dist_version": "12", "dist_arch": "x86_64", "package_name": "hello", **changes}
    given = {name: value for name, value in fields.items() if value is not ...}

    with pytest.raises(ValidationError) as refusal:
        type(a_spec()).model_validate(given)

    first = refusal.value.errors()[0]
    assert ("422", first["type"], first["msg"]) in problems()


def test_a_key_given_twice_is_as_described() -> None:
    with pytest.raises(ValueError, match="same key twice") as refusal:
        read_json(b'{"a": 1, "a": 2}', most_values=9)

    assert ("422", "json_invalid", f"not valid JSON: {refusal.value.msg}") in problems()  # type: ignore[attr-defined]


# The configuration.


def starts() -> list[str]:
    return [cells[0] for cells in tables(section("Configuration and start errors"))]


@pytest.mark.parametrize(
    "changes",
    [
        {"colour": "blue"},
        {"jwt_secret": "x"},
        {"worker_secret": a_config().jwt_secret.get_secret_value()},
        {"jwt_secrets": {"worker": a_config().jwt_secret.get_secret_value()}},
        {"jwt_jwks_file": "keys.json"},
        {"heartbeat_seconds": 20, "lease_seconds": 30},
        {"broker": "rabbitmq"},
        {"storage": "s3"},
    ],
    ids="-".join,
)
def test_a_refused_configuration_is_as_described(changes: dict[str, Any]) -> None:
    with pytest.raises(AltsError) as refusal:
        a_config(**changes)

    assert str(refusal.value) in starts()


def test_a_worker_that_no_runner_is_for_is_as_described() -> None:
    config = a_config(host_architecture="aarch64", runners={"docker": {"architectures": ["x86_64"]}})

    with pytest.raises(AltsError) as refusal:
        create_worker_app(config)

    assert str(refusal.value) in starts()


def test_a_stage_that_no_plan_has_is_as_described() -> None:
    with pytest.raises(AltsError) as refusal:
        with_timeouts({"standard": STANDARD}, {"instal": 900})

    assert any(
        str(refusal.value).startswith(example.partition(": install")[0]) for example in starts() if "instal:" in example
    )
