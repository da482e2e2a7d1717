"""Repeated tests of a package give the same verdict in the same words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark.structures import ParameterSet

from tests.corpus import deb_builder, every_fault, rpm_builder
from tests.corpus.debs import DEBS
from tests.support.acceptance import STANDIN
from tests.support.embedded import EmbeddedService
from tests.support.mirror import mirror
from tests.support.plain_runner import plain_runner
from tests.support.small_archive import machine_files, names_in_fields, small_archive
from tests.support.stack import schedule, wait_for

FEW, MANY = 3, 20
SECONDS = 1800  # for all tasks together on a busy machine

pytestmark = [pytest.mark.docker, pytest.mark.timeout(SECONDS + 600)]

NAMES = {"deb": (every_fault.NAME, "needs-failing-postinst"), "rpm": (every_fault.NAME, "needs-failing-post")}
MORE_NAMES = {
    "deb": ("file-conflict", "needs-both-rivals"),
    "rpm": ("file-conflict", "needs-both-rivals"),
    "real": ("postfix", "redis-server", "apache2"),
}


def cases(names: Mapping[str, Sequence[str]], *, times: int) -> list[ParameterSet]:
    return [
        pytest.param(
            family, name, times, id=f"{family}-{name}-{times}", marks=[pytest.mark.long] if times == MANY else []
        )
        for family, several in names.items()
        for name in several
    ]


CASES = (*cases(NAMES, times=FEW), *cases(NAMES, times=MANY), *cases(MORE_NAMES, times=MANY))

Results = Sequence[Mapping[str, Any]]


@pytest.fixture(scope="module")
def requests(tmp_path_factory: pytest.TempPathFactory, rpm_corpus: Path) -> Iterator[Mapping[str, Mapping[str, Any]]]:
    """Yield family → request without the package's name."""
    folder = tmp_path_factory.mktemp("repositories")
    with ExitStack() as stack:
        debs = stack.enter_context(deb_builder.repositories(folder / "debs", (*DEBS, every_fault.DEB)))
        rpms = stack.enter_context(rpm_builder.repositories(rpm_corpus))
        yield {
            "deb": {"repositories": [debs["plain"]]},
            "rpm": {**STANDIN, "repositories": rpms["plain"]},
            "real": {},
        }


@pytest.fixture(scope="module")
def results(
    requests: Mapping[str, Mapping[str, Any]], tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Mapping[str, Results]]:
    """Yield case id → results, for the selected cases. The cases alternate, so each runs beside various others."""
    chosen = [case for case in CASES if any(f"[{case.id}]" in item.name for item in request.session.items)]
    folder = tmp_path_factory.mktemp("service")
    wanted = names_in_fields(*DEBS, every_fault.DEB) | {*MORE_NAMES["real"]}
    with (
        small_archive(wanted) as archive,
        mirror(folder, archive) as debian,
        EmbeddedService(
            folder, registry={"docker": partial(plain_runner, apt_files=machine_files(archive, debian.url))}
        ) as service,
        service.client as client,
    ):
        tasks = []
        for turn in range(MANY):
            for case in chosen:
                family, name, times = case.values
                if turn < int(str(times)):
                    tasks.append((case.id, schedule(client, **requests[str(family)], package_name=name)))
        ended = [(name, wait_for(client, task_id, seconds=SECONDS)["result"]) for name, task_id in tasks]
        yield {str(case.id): [result for name, result in ended if name == case.id] for case in chosen}


@pytest.mark.parametrize(("family", "name", "times"), CASES)
def test_all_tests_of_a_package_have_the_same_findings_byte_for_byte(
    family: str, name: str, times: int, results: Mapping[str, Results]
) -> None:
    ours = results[f"{family}-{name}-{times}"]

    assert len(ours) == times
    assert len({said(result) for result in ours}) == 1, different([said(result) for result in ours])


def said(result: Mapping[str, Any]) -> str:
    """Return the verdict with all its findings as text for an exact comparison."""
    stages = [
        {key: stage[key] for key in ("stage", "outcome", "reason", "findings", "exit_code")}
        for stage in result["stages"]
    ]
    return json.dumps([result["outcome"], result["reason"], result["package"], result["closure"], stages], indent=1)


def different(texts: Sequence[str]) -> str:
    """Return the lines that not every text has."""
    everywhere = set.intersection(*(set(text.splitlines()) for text in texts))
    return "\n".join(sorted({line for text in texts for line in text.splitlines() if line not in everywhere}))


@pytest.mark.parametrize(
    ("family", "name", "times"),
    [case for case in CASES if case.values[1] == every_fault.NAME and case.values[2] == FEW],
)
def test_the_package_with_every_fault_has_them_all(
    family: str, name: str, times: int, results: Mapping[str, Results]
) -> None:
    [first, *_] = results[f"{family}-{name}-{times}"]
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
