"""The upgrade from the distribution's version."""

from __future__ import annotations

import pytest

from alts.core.stop import Stop
from alts.package_managers.apt.manager import Apt
from alts.package_managers.base import Candidate
from alts.pipeline.context import StageContext
from alts.pipeline.observations import Observations
from alts.pipeline.stage_log import StageLog
from alts.pipeline.stages.upgrade import upgrade
from alts.shared.models.report import Kind
from tests.support.builders import a_spec
from tests.support.fakes import Answer, FakeDebian, FakeInstance

DEBIAN = "http://deb.debian.org/debian bookworm/main amd64 Packages"
BROUGHT = "http://repository.example/debian"
TESTED, OLDER = Candidate("99.0", f"{BROUGHT} bookworm/main amd64 Packages"), Candidate("2.10-3", DEBIAN)


@pytest.fixture
def debian() -> FakeDebian:
    """A machine with the version under test, as the stage before leaves it."""
    debian = FakeDebian({"hello": TESTED.version})
    debian.installed["hello"] = TESTED.version
    debian.conffiles.add("hello")
    return debian


def context(debian: FakeDebian) -> StageContext:
    seen = Observations(candidate=TESTED, candidates=(TESTED, OLDER))
    spec = a_spec(repositories=[{"url": f"{BROUGHT} bookworm main"}])
    return StageContext(spec, FakeInstance(debian.programs), Apt(), Stop(60), StageLog(), seen)


def test_one_command_removes_and_purges_the_package_before_the_older_version_comes(debian: FakeDebian) -> None:
    upgrading = context(debian)

    answer = upgrade(upgrading)

    assert (answer.findings, answer.skipped) == ((), "")
    verbs = ("remove", "purge", "install")
    assert [[word for word in done.argv if word in verbs] for done in upgrading.commands] == [
        ["purge"],
        ["install"],
        ["install"],
    ]
    assert [done.argv[-1] for done in upgrading.commands] == ["hello", "hello=2.10-3", "hello=99.0"]
    assert debian.unpurged == {}


def test_a_package_that_is_still_there_after_the_purge_has_failed(debian: FakeDebian) -> None:
    debian.overrides["purge"] = Answer()

    [finding] = upgrade(context(debian)).findings

    assert finding.kind is Kind.REMOVAL_FAILED
    assert finding.message == "hello is still installed although the removal reported success"
