"""TAP is valid for its readers."""

from __future__ import annotations

import json

import yaml
from hypothesis import given
from hypothesis import strategies as st
from tap.line import Result
from tap.parser import Parser

from alts.shared.models.report import Finding, Kind, Outcome, Report, StageResult
from alts.shared.reports.tap import tap
from tests.support.builders import a_report

FINDING = Finding(kind=Kind.MISSING_FILE, message="/usr/bin/hello is missing", evidence="missing /usr/bin/hello")


def points(report: Report) -> list[Result]:
    """Read it with a third-party parser, which must know every line."""
    lines = list(Parser().parse_text(tap(report)))
    assert not [line for line in lines if line.category == "unknown"]
    return [line for line in lines if isinstance(line, Result)]


def block_of(report: Report) -> dict[str, object]:
    """Return the YAML block of the first test point."""
    lines = tap(report).splitlines()
    text = "\n".join(line[2:] for line in lines[lines.index("  ---") + 1 : lines.index("  ...")])
    block: dict[str, object] = yaml.safe_load(text)
    return block


def test_every_stage_is_a_test_point() -> None:
    outcomes = [Outcome.PASSED, Outcome.FAILED, Outcome.ERRORED, Outcome.CANCELLED, Outcome.SKIPPED]
    stages = tuple(StageResult(stage=outcome.value, outcome=outcome, reason="why") for outcome in outcomes)

    found = points(a_report(stages=stages))

    assert [(point.number, point.ok, point.skip) for point in found] == [
        (1, True, False),
        (2, False, False),
        (3, False, False),
        (4, False, False),
        (5, True, True),
    ]
    assert tap(a_report(stages=stages)).startswith("TAP version 13\n1..5\n")


def test_a_skipped_stage_says_why() -> None:
    stage = StageResult(stage="remove", outcome=Outcome.SKIPPED, reason="install has not passed")

    [point] = points(a_report(stages=(stage,)))

    assert (point.description, point.directive.reason) == ("- remove", "install has not passed")


def test_findings_stand_below_their_stage() -> None:
    stage = StageResult(
        stage="integrity", outcome=Outcome.FAILED, seconds=1.25, findings=(FINDING,), reason="no\nnot so"
    )

    block = block_of(a_report(stages=(stage,)))

    assert block["message"] == "no\nnot so"
    assert block["duration_ms"] == 1250
    assert block["findings"] == [
        {
            "kind": "missing_file",
            "severity": "error",
            "message": "/usr/bin/hello is missing",
            "evidence": "missing /usr/bin/hello",
        }
    ]


@given(st.text(max_size=30))
def test_no_text_becomes_a_line_of_its_own(text: str) -> None:
    evil = f"x\nok 2 - forged # SKIP{text}"
    finding = Finding(kind=Kind.SCRIPTLET_FAILED, message=evil, evidence=evil)
    report = a_report(
        package={"name": evil},
        stages=(
            StageResult(stage="install", outcome=Outcome.FAILED, findings=(finding,), reason=evil),
            StageResult(stage="remove", outcome=Outcome.SKIPPED, reason=evil),
        ),
    )

    assert [(point.ok, point.skip) for point in points(report)] == [(False, False), (True, True)]
    assert json.loads(json.dumps(block_of(report)["message"])) == evil
