"""The verdict on a stage."""

from __future__ import annotations

import pytest

from alts.core.command import Completed
from alts.core.instance import MachineRuined
from alts.core.stop import StopReason
from alts.package_managers.apt.manager import Apt
from alts.pipeline.plans import PLANS
from alts.pipeline.stage import Stage
from alts.pipeline.verdict import of_findings, of_overrun, of_trouble
from alts.shared.errors import DiskFull, InfrastructureError
from alts.shared.models.report import Finding, Kind, Outcome, Severity

STAGES = {stage.name: stage for plan in PLANS.values() for stage in plan}
INSTALL, LEFTOVERS = STAGES["install"], STAGES["leftovers"]
THEIRS = Finding(kind=Kind.INSTALL_FAILED, message="theirs")
OURS = Finding(kind=Kind.DISK_FULL, message="ours")


def test_nothing_found_passes() -> None:
    verdict = of_findings(())

    assert (verdict.outcome, verdict.reason, verdict.retryable) == (Outcome.PASSED, "", False)


def test_a_warning_passes_without_a_reason() -> None:
    verdict = of_findings((Finding(kind=Kind.BAD_RPATH, message="odd", severity=Severity.WARNING),))

    assert (verdict.outcome, verdict.reason) == (Outcome.PASSED, "")


def test_our_fault_outweighs_the_package_s_and_may_be_tried_again() -> None:
    verdict = of_findings((THEIRS, OURS))

    assert (verdict.outcome, verdict.reason, verdict.retryable) == (Outcome.ERRORED, "ours", True)
    assert verdict.findings == (THEIRS, OURS)


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_a_ruined_machine_is_called_what_the_plan_says(stage: Stage) -> None:
    verdict = of_trouble(stage, MachineRuined(None, "its programs are gone"), package_came=True)

    assert [finding.kind for finding in verdict.findings] == [stage.failing]
    assert verdict.reason == f"{stage.name}: its programs are gone"


def test_only_the_stages_before_the_installation_have_nothing_to_hold_against_the_package() -> None:
    assert [stage.name for stage in STAGES.values() if stage.failing.ours] == ["prepare", "system_info", "snapshot"]


def test_a_ruined_machine_that_says_how_is_called_that() -> None:
    verdict = of_trouble(LEFTOVERS, MachineRuined(Kind.OUT_OF_MEMORY, "no memory"), package_came=True)

    assert [finding.kind for finding in verdict.findings] == [Kind.OUT_OF_MEMORY]
    assert verdict.outcome is Outcome.FAILED


@pytest.mark.parametrize(
    ("reached", "kind"),
    [(Kind.DISK_LIMIT_EXCEEDED, Kind.DISK_FULL), (Kind.OUT_OF_MEMORY, Kind.INSTANCE_LOST), (None, Kind.INSTANCE_LOST)],
)
def test_a_machine_that_is_ruined_before_the_package_came_is_ours(reached: Kind | None, kind: Kind) -> None:
    verdict = of_trouble(INSTALL, MachineRuined(reached, "nothing left"), package_came=False)

    assert [finding.kind for finding in verdict.findings] == [kind]
    assert (verdict.outcome, verdict.retryable) == (Outcome.ERRORED, True)


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [
        (DiskFull("no room"), Kind.DISK_FULL),
        (InfrastructureError("something"), Kind.INTERNAL),
        (OSError("no room on the worker"), Kind.INTERNAL),
    ],
    ids=["a known category", "an unknown one", "the worker's own"],
)
@pytest.mark.parametrize("package_came", [False, True])
def test_a_fault_of_ours_is_ours_at_any_time(
    trouble: InfrastructureError | OSError, kind: Kind, package_came: bool
) -> None:
    verdict = of_trouble(INSTALL, trouble, package_came=package_came)

    assert [finding.kind for finding in verdict.findings] == [kind]
    assert (verdict.outcome, verdict.retryable) == (Outcome.ERRORED, True)


def test_an_error_that_another_attempt_cannot_mend_is_not_retryable() -> None:
    assert not of_trouble(INSTALL, InfrastructureError("no", retryable=False), package_came=False).retryable


HUNG = Completed(
    argv=("apt-get",), exit_code=None, output="Reading package lists...\n", seconds=900.0, stopped=StopReason.DEADLINE
)


@pytest.mark.parametrize(
    ("stage", "last", "kind"),
    [
        (INSTALL, None, Kind.TIMEOUT),
        (INSTALL, Completed(argv=("true",), exit_code=0, output="", seconds=1.0), Kind.TIMEOUT),
        (INSTALL, HUNG, Kind.INTERNAL),
        (LEFTOVERS, HUNG, Kind.INTERNAL),
        (STAGES["prepare"], None, Kind.PROVISION_FAILED),
    ],
    ids=["no command", "none that hung", "one that hung before the package's part", "ours by the plan", "the machine"],
)
def test_a_stage_that_takes_too_long_is_the_fault_of_what_hung(
    stage: Stage, last: Completed | None, kind: Kind
) -> None:
    [finding] = of_overrun(stage, last, Apt()).findings

    assert finding.kind is kind
