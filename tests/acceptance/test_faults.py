"""An infrastructure fault at any moment is never blamed on the package."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from alts.pipeline.plans import PLANS
from alts.shared.models.report import Finding, Kind, Outcome, Report, Severity
from tests.support.fault_lab import PLAN, RESUMED, Course, FaultLab, Incident, keeping
from tests.support.faults import DebFamily, Family, RpmFamily, strikes
from tests.support.mirror import Fault, Memory, Mirror, mirror
from tests.support.small_archive import small_archive

# Each case waits for the previous one, and a hanging mirror costs its whole timeout.
pytestmark = [pytest.mark.docker, pytest.mark.timeout(1800)]

FAMILIES: Mapping[str, Family] = {"deb": DebFamily(), "rpm": RpmFamily()}

UNREACHABLE = frozenset({Kind.REPOSITORY_UNREACHABLE})
# With the repository, the proof of a package's origin is lost too. That is not the package's fault either.
FORGOTTEN = UNREACHABLE | {Kind.INTERNAL}
FULL = frozenset({Kind.DISK_FULL})
LOST = frozenset({Kind.INSTANCE_LOST})

STAGES = tuple(stage.name for stage in PLANS[PLAN])


@dataclass(frozen=True)
class Case:
    """A fault, the moment it strikes, and the kinds of infrastructure findings that it may cause."""

    family: str
    fault: str
    stage: str
    kinds: frozenset[Kind]
    at: str = ""
    """See tests.support.fault_lab.Incident."""
    package: str = ""
    """Package to test instead of the family's; "" for the family's."""

    @property
    def id(self) -> str:
        return "-".join(filter(None, (self.family, self.stage, self.fault, self.package, self.at.partition(" ")[0])))


# These strike at every stage of the longest plan.
ANYWHERE: Mapping[str, frozenset[Kind]] = {
    "killed": LOST,
    "disk-full": FULL | FORGOTTEN,
    "dns-gone": FORGOTTEN,
    "mirror-503": FORGOTTEN,
}

# A mirror that is being updated, or one behind an interfering network.
MIRRORS = tuple(
    f"mirror-{fault}" for fault in (Fault.GONE, Fault.GARBAGE, Fault.PORTAL, Fault.SHORT, Fault.RESET, Fault.HANG)
)
READING = ("prepare", "install")
"""The stages that read from a mirror."""


def cases() -> Iterator[Case]:
    for name, family in FAMILIES.items():
        for stage in STAGES:
            for fault, kinds in ANYWHERE.items():
                yield Case(name, fault, stage, kinds)
        # These strike during a command.
        yield Case(name, "killed", "install", LOST, at=family.installing)
        yield Case(name, "killed", "remove", LOST, at=family.removing)
        yield Case(name, "none", "install", FULL, package="fault-big")
        for fault in MIRRORS:
            for stage in READING:
                yield Case(name, fault, stage, UNREACHABLE)


CASES = tuple(cases())


def is_brief(case: Case) -> bool:
    """Return whether `make test` runs the case from its checkpoint.

    The pipeline judges a fault, whatever the family. So the faults that strike anywhere strike the stages in turn, on
    deb and on RPM in turn. A faulty mirror strikes one reading stage of one family.
    """
    if case.at:
        return True
    if case.fault in ANYWHERE:
        return in_turn(list(ANYWHERE), STAGES.index(case.stage)) == (case.fault, case.family)
    if case.fault in MIRRORS:
        return in_turn(READING, MIRRORS.index(case.fault)) == (case.stage, case.family)
    return True


def in_turn(choices: Sequence[str], number: int) -> tuple[str, str]:
    """Return a choice and a family for each number. All choices with all families come before one comes again."""
    families = list(FAMILIES)
    return choices[number // len(families) % len(choices)], families[number % len(families)]


RESTS = [pytest.param(case, id=case.id, marks=() if is_brief(case) else pytest.mark.long) for case in CASES]

# Cases that also run from the beginning, on a machine made by Terraform. Faults during a command always do; the others
# are marked long.
WHOLE = [
    pytest.param(case, id=f"{case.id}-whole", marks=() if case.at else pytest.mark.long)
    for case in CASES
    if not case.package
]


@dataclass(frozen=True)
class Bench:
    """The reports of all attempts. They are complete before the first test."""

    courses: Mapping[str, Report]
    """Family → report of the run without a fault."""
    rests: Mapping[str, Report]
    """Case id → report of the run from its stage's checkpoint, for the selected cases."""
    calm: Mapping[tuple[str, str], Report]
    """(family, stage) → report of that stage from its checkpoint, without a fault."""
    wholes: Mapping[str, Report]
    """Case id → report of the run from the beginning, for the selected cases of WHOLE."""


@pytest.fixture(scope="module")
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, rpm_corpus: Path) -> Bench:
    folder = tmp_path_factory.mktemp("faults")
    chosen = {item.name.partition("[")[2].rstrip("]") for item in request.session.items if item.path == request.path}
    debs = folder / "debs"
    debs.mkdir()
    DebFamily.build(debs)
    courses: dict[str, Course] = {}
    with ExitStack() as stack:
        debian = stack.enter_context(small_archive(DebFamily.wanted))
        mirrors = {
            "deb": stack.enter_context(mirror(debs, debian, key=debian.key.public)),
            "rpm": stack.enter_context(mirror(rpm_corpus, Memory())),
        }
        stack.enter_context(keeping(courses))
        lab = stack.enter_context(FaultLab(folder))
        for name, family in FAMILIES.items():
            courses[name] = lab.course(family.spec(mirrors[name]), ready=family.ready(mirrors[name]))
        wholes = {
            f"{case.id}-whole": whole(case, lab, mirrors[case.family]) for case in CASES if f"{case.id}-whole" in chosen
        }
        without = lab.reports({name: course.report for name, course in courses.items()})
        rests = {case.id: rest(case, lab, courses, mirrors[case.family]) for case in CASES if case.id in chosen}
        calm = {
            (name, stage): lab.rest(courses[name], stage, again=family.again(mirrors[name]), stages=1)
            for name, family in FAMILIES.items()
            for stage in STAGES
            if f"{stage}-{name}" in chosen
        }
        return Bench(without, lab.reports(rests), lab.reports(calm), lab.reports(wholes))


def incident(case: Case, served: Mirror) -> Incident | None:
    strike = strikes(FAMILIES[case.family]).get(case.fault)
    return Incident(case.stage, strike(served), case.at) if strike else None


def whole(case: Case, lab: FaultLab, served: Mirror) -> Future[Report]:
    family, happens = FAMILIES[case.family], incident(case, served)
    assert happens is not None
    return lab.whole(family.spec(served), ready=family.ready(served), incident=happens)


def rest(case: Case, lab: FaultLab, courses: Mapping[str, Course], served: Mirror) -> Future[Report]:
    go_on = partial(lab.rest, courses[case.family], again=FAMILIES[case.family].again(served))
    if case.package:
        # A different package than the course's repeats every stage; only the machine is reused.
        return go_on(STAGES[0], incident=incident(case, served), package=case.package)
    return go_on(case.stage, incident=incident(case, served))


def errors(report: Report) -> list[Finding]:
    return [finding for stage in report.stages for finding in stage.findings if finding.severity is Severity.ERROR]


@pytest.mark.parametrize("family", FAMILIES)
def test_without_a_fault_every_stage_has_something_to_do_and_passes(family: str, bench: Bench) -> None:
    report = bench.courses[family]

    assert report.outcome is Outcome.PASSED, report
    skipped = {stage.stage for stage in report.stages if stage.outcome is Outcome.SKIPPED}
    assert skipped == (set() if family == "deb" else {"purge"})
    # The finding proves that the stage leftovers installed the dependencies again.
    assert [finding.kind for stage in report.stages for finding in stage.findings] == [Kind.LEFTOVER_FILE]


# `make test` resumes every other stage on deb, and the rest on RPM.
CALM = [
    pytest.param(family, stage, id=f"{stage}-{family}", marks=() if (row + column) % 2 else pytest.mark.long)
    for row, family in enumerate(FAMILIES)
    for column, stage in enumerate(STAGES)
]


@pytest.mark.parametrize(("family", "stage"), CALM)
def test_a_stage_from_its_checkpoint_says_what_it_said_in_its_course(family: str, stage: str, bench: Bench) -> None:
    [resumed, ended] = bench.calm[family, stage].stages

    [expected] = [one for one in bench.courses[family].stages if one.stage == stage]
    assert (resumed.stage, resumed.outcome) == (RESUMED, Outcome.PASSED)
    assert (ended.stage, ended.outcome, ended.findings) == (stage, expected.outcome, expected.findings)


def judged_ours(case: Case, report: Report) -> None:
    assert report.outcome is Outcome.ERRORED, report
    assert {finding.kind for finding in errors(report)} <= case.kinds, report
    assert report.retryable


@pytest.mark.parametrize("case", RESTS)
def test_a_fault_of_ours_never_fails_the_package(case: Case, bench: Bench) -> None:
    judged_ours(case, bench.rests[case.id])


@pytest.mark.parametrize("case", WHOLE)
def test_nor_does_it_in_a_run_from_the_beginning(case: Case, bench: Bench) -> None:
    judged_ours(case, bench.wholes[f"{case.id}-whole"])
