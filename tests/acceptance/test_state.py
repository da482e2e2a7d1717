"""A package's changes to a machine, observed on real machines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from junitparser import JUnitXml

from alts.checks.state.snapshot import Snapshot
from alts.core.stop import Stop
from alts.package_managers.apt.manager import Apt
from alts.pipeline.context import StageContext
from alts.pipeline.observations import Observations
from alts.pipeline.stage_log import StageLog
from alts.pipeline.stages.snapshot import look
from tests.support.builders import a_spec
from tests.support.deb_repository import build_deb, serving, write_index
from tests.support.debian_image import debian_image
from tests.support.embedded import EmbeddedService
from tests.support.machine import Machine
from tests.support.plain_service import plain_service
from tests.support.stack import schedule, wait_for

pytestmark = pytest.mark.docker

Report = Mapping[str, Any]

SERVICE = "[Service]\nExecStart=/bin/true\n"
MAKES_A_USER = "[ $1 != configure ] || useradd --system --no-create-home _stateful"
LISTENS = "my $s = IO::Socket::INET->new(LocalPort => 4711, Listen => 1) or die; sleep 86400"
STARTS_A_DAEMON = f"[ $1 != configure ] || {{ setsid perl -MIO::Socket -e '{LISTENS}' </dev/null >/dev/null 2>&1 & }}"
STOPS_THE_DAEMON = (
    "for file in $(grep -l LocalPort /proc/[0-9]*/cmdline); do kill $(basename ${file%/cmdline}); done; :"
)
PURGES = "[ $1 != purge ] || userdel _stateful"


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Report]]:
    """Test packages that undo their many changes, that leave things behind, or whose dependency leaves things behind.

    Yield package → report.
    """
    folder = tmp_path_factory.mktemp("state")
    packages = folder / "packages"
    packages.mkdir()
    build_deb(
        packages,
        "stateful",
        files={
            "/usr/lib/systemd/system/stateful.service": SERVICE,
            "/etc/stateful/conf": "answer = 42\n",
            "/DEBIAN/conffiles": "/etc/stateful/conf\n",
        },
        links={"/usr/share/stateful/conf": "/etc/stateful/conf"},
        fields={"Depends": "passwd"},
        scripts={
            "postinst": f"{MAKES_A_USER}\n{STARTS_A_DAEMON}",
            "prerm": STOPS_THE_DAEMON,
            "postrm": PURGES,
        },
    )
    build_deb(packages, "state-library", scripts={"postinst": "echo left > /etc/state-library.conf; useradd _library"})
    build_deb(packages, "state-tidy", fields={"Depends": "state-library"})
    build_deb(
        packages,
        "state-untidy",
        fields={"Depends": "state-library"},
        scripts={"postinst": "mkdir -p /srv/state-untidy/$$; echo left > /srv/state-untidy/$$/state; useradd _untidy"},
    )
    write_index(packages)
    with serving(packages) as url, plain_service(folder) as service, service.client as client:
        repository = {"url": url, "trusted": True}
        tasks = {
            name: schedule(client, package_name=name, repositories=[repository])
            for name in ("stateful", "state-tidy", "state-untidy")
        }
        yield {name: wait_for(client, task_id)["result"] for name, task_id in tasks.items()}


def findings(report: Report) -> list[tuple[str, str, str]]:
    return [
        (finding["kind"], finding["severity"], finding["evidence"])
        for stage in report["stages"]
        for finding in stage["findings"]
    ]


def artifact(report: Report, name: str) -> str:
    return EmbeddedService.read(f"{report['artifacts'].rstrip('/')}/{name}")


def test_the_report_tells_what_came_and_what_went(reports: Mapping[str, Report]) -> None:
    installed, removed, purged = reports["stateful"]["state"]

    assert (installed["since"], installed["until"], removed["until"], purged["until"]) == (
        "before",
        "installed",
        "removed",
        "purged",
    )
    assert "/etc/stateful/conf" in installed["files"]["added"]
    assert "/etc/passwd" in installed["files"]["changed"]
    assert installed["users"]["added"] == installed["groups"]["added"] == ["_stateful"]
    assert installed["services"]["added"] == ["systemd stateful.service"]
    assert installed["listening"]["added"] == ["tcp 0.0.0.0:4711"]
    assert len(installed["processes"]["added"]) == 1
    assert installed["packages"]["added"] == ["stateful 1.0"]
    assert removed["services"]["removed"] == ["systemd stateful.service"]
    assert removed["listening"]["removed"] == ["tcp 0.0.0.0:4711"]
    assert "/etc/stateful/conf" in purged["files"]["removed"]
    assert purged["users"]["removed"] == ["_stateful"]


def test_what_puts_everything_back_has_nothing_to_tell(reports: Mapping[str, Report]) -> None:
    assert reports["stateful"]["outcome"] == "passed"
    assert findings(reports["stateful"]) == []


def test_what_a_dependency_leaves_is_not_the_package_s(reports: Mapping[str, Report]) -> None:
    assert reports["state-tidy"]["outcome"] == "passed"
    assert [(kind, severity) for kind, severity, _ in findings(reports["state-tidy"])] == [
        ("leftover_file", "info"),
        ("leftover_user", "info"),
    ]


def test_what_the_package_leaves_beside_its_dependency_is_its_own(reports: Mapping[str, Report]) -> None:
    found = findings(reports["state-untidy"])

    assert reports["state-untidy"]["outcome"] == "failed"
    assert [(kind, severity) for kind, severity, _ in found] == [
        ("leftover_file", "info"),
        ("leftover_file", "error"),
        ("leftover_user", "info"),
        ("leftover_user", "error"),
    ]
    # The folder's name is a process id, which varies. The finding does not vary.
    assert found[1][2] == "/srv/state-untidy"


def test_the_whole_difference_is_kept_beside_the_logs(reports: Mapping[str, Report]) -> None:
    state = json.loads(artifact(reports["stateful"], "state.json"))

    [line] = [line for line in state[0]["files"]["added"] if line.startswith("/etc/stateful/conf:")]
    assert line == "/etc/stateful/conf: -rw-r--r-- 0:0 12"


def test_the_report_comes_in_the_forms_that_others_read(reports: Mapping[str, Report]) -> None:
    report = reports["state-untidy"]

    [suite] = JUnitXml.fromstring(artifact(report, "report.junit.xml").encode())
    assert (suite.tests, suite.failures, suite.errors) == (len(report["stages"]), 1, 0)
    assert f"1..{len(report['stages'])}" in artifact(report, "report.tap").splitlines()


def a_look(machine: Machine) -> Snapshot:
    context = StageContext(a_spec(), machine.instance, Apt(), Stop(60), StageLog(), Observations())
    return look(context, "snapshot of the machine")


def test_two_snapshots_of_an_idle_machine_are_equal() -> None:
    with Machine(debian_image()) as machine:
        one, other = a_look(machine), a_look(machine)

    assert one == other
    assert one.files["/usr/bin/dpkg"].type == "f"
    assert one.users["root"].startswith("0:0:")
    assert one.packages["dpkg"]


def test_a_machine_without_findutils_looks_the_same() -> None:
    with Machine(debian_image()) as machine:
        machine.instance.run(["mv", "/usr/bin/find", "/tmp/find"], stop=Stop(10))
        without = a_look(machine)
        machine.instance.run(["mv", "/tmp/find", "/usr/bin/find"], stop=Stop(10))
        with_find = a_look(machine)

    assert with_find.files.keys() - without.files.keys() == {"/usr/bin/find"}
    assert {path: with_find.files[path] for path in without.files} == without.files


def test_odd_names_are_no_trouble(tmp_path: Path) -> None:
    name = "/srv/a\nb\tc \x1e -> d'\\"
    with Machine(debian_image()) as machine:
        machine.instance.run(["sh", "-c", 'echo x >"$1"; ln -s "$1" "$1 link"', "sh", name], stop=Stop(10))
        taken = a_look(machine)

    assert taken.files[name].size == 2
    assert taken.files[f"{name} link"].target == name
