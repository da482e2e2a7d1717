"""The same package, tested twenty times, is judged twenty times in the same words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import pytest
from _pytest.mark.structures import ParameterSet

from tests.acceptance.embedded import EmbeddedService
from tests.acceptance.fixtures import STANDIN, standin_image
from tests.corpus import deb_builder, every_fault, rpm_builder
from tests.corpus.debs import DEBS
from tests.corpus.rpms import RPMS
from tests.services.stack import schedule, wait_for

TIMES = 20
SECONDS = 1800  # for all of them together on a busy machine

pytestmark = [pytest.mark.docker, pytest.mark.timeout(SECONDS + 600)]

NAMES = {"deb": (every_fault.NAME, "needs-failing-postinst"), "rpm": (every_fault.NAME, "needs-failing-post")}
MORE_NAMES = {
    "deb": ("file-conflict", "needs-both-rivals"),
    "rpm": ("file-conflict", "needs-both-rivals"),
    "real": ("postfix", "redis-server", "apache2"),
}


def cases(names: Mapping[str, Sequence[str]], *marks: pytest.MarkDecorator) -> list[ParameterSet]:
    return [
        pytest.param(family, name, id=f"{family}-{name}", marks=marks)
        for family, several in names.items()
        for name in several
    ]


CASES = (*cases(NAMES), *cases(MORE_NAMES, pytest.mark.long))

Results = Sequence[Mapping[str, Any]]


@pytest.fixture(scope="module")
def requests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Mapping[str, Any]]]:
    """What asks for a package of each family, its name apart."""
    folder = tmp_path_factory.mktemp("repositories")
    rpm_builder.build(folder, (*RPMS, every_fault.RPM), **standin_image())
    with ExitStack() as stack:
        debs = stack.enter_context(deb_builder.repositories(folder / "debs", (*DEBS, every_fault.DEB)))
        rpms = stack.enter_context(rpm_builder.repositories(folder))
        yield {
            "deb": {"repositories": [debs["plain"]]},
            "rpm": {**STANDIN, "repositories": rpms["plain"]},
            "real": {},
        }


@pytest.fixture(scope="module")
def results(
    requests: Mapping[str, Mapping[str, Any]], tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Mapping[str, Results]]:
    """Twenty of every chosen case, by its id; the cases take turns, so that each has all sorts of neighbours."""
    chosen = [case for case in CASES if any(f"[{case.id}]" in item.name for item in request.session.items)]
    with EmbeddedService(tmp_path_factory.mktemp("service")) as service, service.client as client:
        tasks = [
            (str(case.id), schedule(client, **requests[str(case.values[0])], package_name=case.values[1]))
            for _ in range(TIMES)
            for case in chosen
        ]
        ended = [(name, wait_for(client, task_id, seconds=SECONDS)["result"]) for name, task_id in tasks]
        yield {str(case.id): [result for name, result in ended if name == case.id] for case in chosen}


@pytest.mark.parametrize(("family", "name"), CASES)
def test_twenty_tests_of_a_package_have_the_same_findings_byte_for_byte(
    family: str, name: str, results: Mapping[str, Results]
) -> None:
    ours = results[f"{family}-{name}"]

    assert len(ours) == TIMES
    assert len({said(result) for result in ours}) == 1, different([said(result) for result in ours])


def said(result: Mapping[str, Any]) -> str:
    """The verdict with all its findings, as bytes would be compared."""
    stages = [
        {key: stage[key] for key in ("stage", "outcome", "reason", "findings", "exit_code")}
        for stage in result["stages"]
    ]
    return json.dumps([result["outcome"], result["reason"], result["package"], result["closure"], stages], indent=1)


def different(texts: Sequence[str]) -> str:
    """The lines in which the texts differ."""
    everywhere = set.intersection(*(set(text.splitlines()) for text in texts))
    return "\n".join(sorted({line for text in texts for line in text.splitlines() if line not in everywhere}))


def test_the_package_with_every_fault_has_them_all(results: Mapping[str, Results]) -> None:
    for family in ("deb", "rpm"):
        [first, *_] = results[f"{family}-{every_fault.NAME}"]
        kinds = {finding["kind"] for stage in first["stages"] for finding in stage["findings"]}
        assert kinds == {
            "missing_library",
            "bad_rpath",
            "broken_symlink",
            "missing_file",
            "modified_file",
            "leftover_file",
            "leftover_user",
            "process_left_running",
        }
