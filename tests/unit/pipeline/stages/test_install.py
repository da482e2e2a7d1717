"""The install stage: its choice among several versions, and its report of the choice."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from alts.core.stop import Stop
from alts.package_managers.apt.manager import Apt
from alts.pipeline.context import StageContext
from alts.pipeline.observations import Observations
from alts.pipeline.stage_log import StageLog
from alts.pipeline.stages.install import install
from alts.pipeline.stages.snapshot import snapshot
from alts.shared.models.report import Finding, Kind, Severity
from tests.support.builders import a_spec
from tests.support.fakes import Answer, FakeDebian, FakeInstance

BROUGHT = "http://repository.example/debian"
POLICY = f"""\
hello:
  Installed: (none)
  Candidate: {{candidate}}
  Version table:
     2.10-3 500
        500 http://deb.debian.org/debian bookworm/main amd64 Packages
     1.0 500
        500 {BROUGHT} ./ Packages
"""


def installed(*, candidate: str, version: str | None = None) -> tuple[Finding, ...]:
    """Run the stage with 1.0 in the task's repository and 2.10-3 in the distribution; return the findings."""
    debian = FakeDebian()

    def apt_cache(argv: Sequence[str]) -> Answer:
        return Answer(output=POLICY.format(candidate=candidate)) if "policy" in argv else Answer()

    instance, seen = FakeInstance({**debian.programs, "apt-cache": apt_cache}), Observations()
    spec = a_spec(package_version=version, repositories=[{"url": f"{BROUGHT} ./", "trusted": True}])
    context = StageContext(spec, instance, Apt(), Stop(60), StageLog(), seen)
    snapshot(context)
    return install(context).findings


def test_whoever_brings_an_older_package_is_told_that_the_distribution_s_was_tested() -> None:
    [finding] = installed(candidate="2.10-3")

    assert (finding.kind, finding.severity) == (Kind.WRONG_PACKAGE_INSTALLED, Severity.WARNING)
    assert finding.message.startswith("hello 2.10-3 of the distribution was tested, not 1.0 of the task's repository")


@pytest.mark.parametrize(
    ("came", "kind", "message"),
    [
        ("hallo", Kind.WRONG_PACKAGE_INSTALLED, "hello was requested, but hallo 1.0 was installed"),
        ("", Kind.INSTALL_FAILED, "hello is not installed although the installation reported success"),
    ],
)
def test_a_file_with_another_package_in_it_is_the_wrong_one(came: str, kind: Kind, message: str) -> None:
    debian = FakeDebian()

    def apt_get(argv: Sequence[str]) -> Answer:
        debian.installed |= {came: "1.0"} if came else {}
        return Answer(output="Setting up ...\n")

    def query(argv: Sequence[str]) -> Answer:
        if argv[-1] == "hello":
            return Answer(1, "dpkg-query: no packages found matching hello\n")
        return Answer(
            output="".join(f"{name}\t{version}\tall\tinstalled\n" for name, version in debian.installed.items())
        )

    instance = FakeInstance({**debian.programs, "apt-get": apt_get, "dpkg-query": query})
    context = StageContext(a_spec(), instance, Apt(), Stop(60), StageLog(), Observations())
    snapshot(context)

    [finding] = install(context).findings

    assert (finding.kind, finding.message) == (kind, message)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(output="find\n"), "installing hello removed find from the machine"),
        (Answer(126, "exec /bin/sh: no such file\n"), "installing hello removed sh from the machine"),
    ],
    ids=["a tool", "the shell"],
)
def test_a_package_that_takes_away_what_the_verdict_needs_has_failed(answer: Answer, message: str) -> None:
    debian = FakeDebian()
    debian.paths |= {"/usr/bin/find", "/usr/bin/grep", "/usr/share/grep"}
    asked: list[Sequence[str]] = []

    def shell(argv: Sequence[str]) -> Answer:
        if not argv[2].startswith("for tool"):
            return debian.programs["/bin/sh"](argv)
        asked.append(argv[4:])
        return answer

    instance, seen = FakeInstance({**debian.programs, "/bin/sh": shell}), Observations()
    context = StageContext(a_spec(), instance, Apt(), Stop(60), StageLog(), seen)
    snapshot(context)

    [finding] = install(context).findings

    assert (finding.kind, finding.severity, finding.message) == (Kind.MISSING_FILE, Severity.ERROR, message)
    assert asked == [("find", "grep")]


@pytest.mark.parametrize(
    ("candidate", "version"),
    [("1.0", None), ("2.10-3", "1.0"), ("2.10-3", "2.10-3")],
    ids=["pinned", "asked for", "the other one asked for"],
)
def test_whoever_gets_what_he_means_is_told_nothing(candidate: str, version: str | None) -> None:
    assert installed(candidate=candidate, version=version) == ()
