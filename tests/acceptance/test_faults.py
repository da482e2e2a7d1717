"""A fault of the infrastructure, at whatever moment, is never blamed on the package."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from alts.plan import PLANS
from alts.shared.report import Finding, Kind, Outcome, Report, Severity
from tests.acceptance.fault_lab import FaultLab, Incident
from tests.acceptance.faults import DebFamily, Family, RpmFamily, strikes
from tests.acceptance.mirror import Fault, Memory, mirror

# Each case waits for the one before it, and a mirror that hangs is waited for.
pytestmark = [pytest.mark.docker, pytest.mark.timeout(1800)]

FAMILIES: Mapping[str, Family] = {"deb": DebFamily(), "rpm": RpmFamily()}

UNREACHABLE = frozenset({Kind.REPOSITORY_UNREACHABLE})
# What proves where a package came from is gone with it, and that is no more the package's fault.
FORGOTTEN = UNREACHABLE | {Kind.INTERNAL}
FULL = frozenset({Kind.DISK_FULL})
LOST = frozenset({Kind.INSTANCE_LOST})


@dataclass(frozen=True)
class Case:
    """A fault, when it strikes, and which kinds of ours it may be called."""

    family: str
    fault: str
    stage: str
    kinds: frozenset[Kind]
    at: str = ""
    """See tests.acceptance.fault_lab.Incident."""
    package: str = ""
    """Another one than the family's."""
    changes: Mapping[str, object] = field(default_factory=dict, hash=False)

    @property
    def id(self) -> str:
        return "-".join(filter(None, (self.family, self.stage, self.fault, self.package, self.at.partition(" ")[0])))


def cases() -> Iterator[Case]:
    for name, family in FAMILIES.items():
        # The four at every stage of the longest plan.
        for stage in PLANS["full"]:
            yield Case(name, "killed", stage.name, LOST)
            yield Case(name, "disk-full", stage.name, FULL | FORGOTTEN)
            yield Case(name, "dns-gone", stage.name, FORGOTTEN)
            yield Case(name, "mirror-503", stage.name, FORGOTTEN)
        # In the midst of a command.
        yield Case(name, "killed", "install", LOST, at=family.installing)
        yield Case(name, "killed", "remove", LOST, at=family.removing)
        yield Case(name, "none", "install", FULL, package="fault-big")
        # A mirror in the middle of its own update, or behind a network that is not what it seems.
        for fault in (Fault.GONE, Fault.GARBAGE, Fault.PORTAL, Fault.SHORT, Fault.RESET, Fault.HANG):
            yield Case(name, f"mirror-{fault}", "install", UNREACHABLE)
            yield Case(name, f"mirror-{fault}", "prepare", UNREACHABLE)


CASES = tuple(cases())


@pytest.fixture(scope="module")
def reports(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, rpm_corpus: Path
) -> Iterator[Mapping[str, Future[Report]]]:
    """Of every case that was chosen, by its id; several run at once, in their order."""
    folder = tmp_path_factory.mktemp("faults")
    chosen = {item.name for item in request.session.items}
    memory = Memory()
    debs = folder / "debs"
    debs.mkdir()
    DebFamily.build(debs)
    with ExitStack() as stack:
        lab = stack.enter_context(FaultLab(folder))
        jobs = {}
        for case in (*(Case(name, "none", "prepare", frozenset()) for name in FAMILIES), *CASES):
            if case.kinds and not any(name.endswith(f"[{case.id}]") for name in chosen):
                continue
            family = FAMILIES[case.family]
            served = stack.enter_context(mirror(debs if case.family == "deb" else rpm_corpus, memory))
            # The faults of a mirror's content are those of Debian's mirror alone: what a task brings is under test.
            served.own_too = case.fault == "mirror-503" or case.family == "rpm"
            strike = strikes(family).get(case.fault)
            incident = Incident(case.stage, strike(served), case.at) if strike else None
            spec = {**family.spec(served), **({"package_name": case.package} if case.package else {})}
            jobs[case.id] = lab.submit(spec, ready=family.ready(served), incident=incident)
        yield jobs


def errors(report: Report) -> list[Finding]:
    return [finding for stage in report.stages for finding in stage.findings if finding.severity is Severity.ERROR]


@pytest.mark.parametrize("family", FAMILIES)
def test_without_a_fault_every_stage_has_something_to_do_and_passes(
    family: str, reports: Mapping[str, Future[Report]]
) -> None:
    report = reports[Case(family, "none", "prepare", frozenset()).id].result()

    assert report.outcome is Outcome.PASSED, report
    skipped = {stage.stage for stage in report.stages if stage.outcome is Outcome.SKIPPED}
    assert skipped == (set() if family == "deb" else {"purge"})
    # So that the stage leftovers has had to install the dependencies once more.
    assert [finding.kind for stage in report.stages for finding in stage.findings] == [Kind.LEFTOVER_FILE]


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_a_fault_of_ours_never_fails_the_package(case: Case, reports: Mapping[str, Future[Report]]) -> None:
    report = reports[case.id].result()

    assert report.outcome is Outcome.ERRORED, report
    assert {finding.kind for finding in errors(report)} <= case.kinds, report
    assert report.retryable
