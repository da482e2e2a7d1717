"""Package lists that come with the machine's image: what is fetched all the same, and when they are not believed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from alts.core.stop import Stop
from alts.package_managers.apt.manager import Apt
from alts.package_managers.apt.sources import FETCH_BROUGHT, LIST_LAST
from alts.pipeline.package_lists import DISTRIBUTION
from alts.pipeline.plans import STANDARD
from alts.pipeline.run import PlanResult, Run, run_plan
from alts.shared.models.report import Kind, Outcome, outcome_of_stages
from tests.support.builders import a_spec
from tests.support.fakes import Answer, FakeDebian, FakeInstance

FETCHED_AT = datetime(2030, 1, 1, tzinfo=UTC)
REPOSITORY = "http://repository.example/deb"
NOT_FOUND = (
    "E: Failed to fetch http://deb.debian.org/debian/pool/main/h/hello/hello_2.10-3_amd64.deb  404  Not Found\n"
    "E: Unable to fetch some archives, maybe run apt-get update or try with --fix-missing?\n"
)


def run(
    debian: FakeDebian, *, fetched_at: datetime | None = FETCHED_AT, **spec: object
) -> tuple[PlanResult, list[str]]:
    """Run the standard plan on a machine with package lists. Return its result and the scripts that fetched lists."""
    fetched: list[str] = []
    names = {LIST_LAST: "all", FETCH_BROUGHT: "the task's"}

    def shell(argv: Sequence[str]) -> Answer:
        fetched.extend(name for script, name in names.items() if script in argv)
        return debian.programs["/bin/sh"](argv)

    instance = FakeInstance({**debian.programs, "/bin/sh": shell})
    result = run_plan(
        STANDARD,
        Run(
            spec=a_spec(**spec),
            packages=Apt(),
            stop=Stop(60),
            provide=lambda stop, log: instance,
            keep_log=lambda stage, text: None,
            show=lambda stages: None,
            lists_fetched_at=lambda: fetched_at,
        ),
    )
    return result, fetched


def test_nothing_is_fetched_for_a_package_of_the_distribution() -> None:
    result, fetched = run(FakeDebian())

    assert outcome_of_stages(result.stages) is Outcome.PASSED
    assert fetched == []
    assert result.seen.indexes == {DISTRIBUTION: FETCHED_AT}


def test_without_lists_in_the_image_all_are_fetched() -> None:
    result, fetched = run(FakeDebian(), fetched_at=None, repositories=[{"url": REPOSITORY, "trusted": True}])

    assert fetched == ["all"]
    assert result.seen.indexes.keys() == {DISTRIBUTION, REPOSITORY}
    assert all(datetime.now(UTC) - one < timedelta(minutes=1) for one in result.seen.indexes.values())


def test_a_repository_of_the_task_is_always_fetched() -> None:
    result, fetched = run(FakeDebian(), repositories=[{"url": REPOSITORY, "trusted": True}])

    assert fetched == ["the task's"]
    assert result.seen.indexes[DISTRIBUTION] == FETCHED_AT
    assert datetime.now(UTC) - result.seen.indexes[REPOSITORY] < timedelta(minutes=1)


def test_a_package_that_the_lists_do_not_have_yet_is_found_in_the_same_attempt() -> None:
    debian = FakeDebian({})
    debian.unlisted["hello"] = "2.10-3"

    result, fetched = run(debian)

    assert outcome_of_stages(result.stages) is Outcome.PASSED
    assert fetched == ["all"]
    assert result.seen.indexes[DISTRIBUTION] > datetime.now(UTC) - timedelta(minutes=1)


def test_a_version_that_the_lists_do_not_have_yet_is_found_in_the_same_attempt() -> None:
    debian = FakeDebian({"hello": "2.10-3"})
    debian.unlisted["hello"] = "2.10-4"

    result, fetched = run(debian, package_version="2.10-4")

    assert outcome_of_stages(result.stages) is Outcome.PASSED
    assert fetched == ["all"]
    assert result.seen.package is not None
    assert result.seen.package.version == "2.10-4"


def test_a_file_that_is_gone_from_the_mirror_is_not_believed_to_be_gone() -> None:
    class Renewed(FakeDebian):
        """Its mirror has a newer file than its lists until they are fetched."""

        def _apt_get(self, argv: Sequence[str]) -> Answer:
            if "update" in argv:
                self.overrides.clear()
            return super()._apt_get(argv)

    debian = Renewed()
    debian.overrides["install"] = Answer(100, NOT_FOUND)

    result, fetched = run(debian)

    assert outcome_of_stages(result.stages) is Outcome.PASSED
    assert fetched == ["all"]


def test_what_new_lists_do_not_mend_is_judged_by_them() -> None:
    result, fetched = run(FakeDebian({}))

    [finding] = [finding for stage in result.stages for finding in stage.findings]
    assert finding.kind is Kind.PACKAGE_NOT_FOUND
    assert fetched == ["all"]


def test_if_the_lists_cannot_be_fetched_again_the_package_is_not_blamed() -> None:
    debian = FakeDebian({})
    debian.overrides["update"] = Answer(100, "E: Failed to fetch http://deb.debian.org/debian/dists/x  503  Away\n")

    result, _ = run(debian)

    assert outcome_of_stages(result.stages) is Outcome.ERRORED


@pytest.mark.parametrize("fetched_at", [FETCHED_AT, None])
def test_a_failing_script_is_no_reason_to_fetch_lists(fetched_at: datetime | None) -> None:
    debian = FakeDebian()
    debian.overrides["install"] = Answer(
        100, " installed hello package post-installation script subprocess returned error exit status 1\n"
    )

    result, fetched = run(debian, fetched_at=fetched_at)

    assert outcome_of_stages(result.stages) is Outcome.FAILED
    assert fetched == ([] if fetched_at else ["all"])
