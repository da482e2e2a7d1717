"""JUnit XML is valid for its consumers."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st
from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from alts.shared.models.report import Finding, Kind, Outcome, Report, Severity, StageResult
from alts.shared.reports.junit import junit_xml
from tests.support.builders import a_report

FINDING = Finding(kind=Kind.MISSING_FILE, message="/usr/bin/hello is missing", evidence="missing /usr/bin/hello")
STAGES = (
    StageResult(stage="prepare", outcome=Outcome.PASSED, seconds=1.5, log="file:///logs/prepare.log"),
    StageResult(stage="integrity", outcome=Outcome.FAILED, findings=(FINDING,), reason="/usr/bin/hello is missing"),
    StageResult(stage="remove", outcome=Outcome.ERRORED, reason="the machine is gone"),
    StageResult(stage="purge", outcome=Outcome.SKIPPED, reason="the outcome of remove is errored"),
    StageResult(stage="leftovers", outcome=Outcome.CANCELLED, reason="cancelled on request"),
)


def the_suite(report: Report) -> TestSuite:
    [suite] = JUnitXml.fromstring(junit_xml(report).encode())
    assert isinstance(suite, TestSuite)
    return suite


def cases(report: Report) -> dict[str, TestCase]:
    return {str(case.name): case for case in the_suite(report) if isinstance(case, TestCase)}


def test_every_stage_is_a_case_with_the_result_that_fits() -> None:
    found = cases(a_report(outcome=Outcome.FAILED, stages=STAGES))

    assert list(found) == [stage.stage for stage in STAGES]
    assert found["prepare"].is_passed
    assert found["prepare"].time == 1.5
    assert [type(case.result[0]) for case in list(found.values())[1:]] == [Failure, Error, Skipped, Error]
    assert found["purge"].result[0].message == "the outcome of remove is errored"


def test_a_failure_names_kind_reason_and_evidence() -> None:
    [failure] = cases(a_report(stages=STAGES))["integrity"].result

    assert (failure.type, failure.message) == ("missing_file", "/usr/bin/hello is missing")
    assert failure.text == "error: missing_file: /usr/bin/hello is missing\n    missing /usr/bin/hello"


def test_what_did_not_make_a_stage_fail_is_told_all_the_same() -> None:
    warning = Finding(kind=Kind.LEFTOVER_FILE, severity=Severity.WARNING, message="/var/x was left behind, empty")
    stage = StageResult(
        stage="leftovers", outcome=Outcome.PASSED, findings=(warning,), log="file:///logs/leftovers.log"
    )

    case = cases(a_report(stages=(stage,)))["leftovers"]

    assert case.is_passed
    assert str(case.system_out).splitlines() == [
        "warning: leftover_file: /var/x was left behind, empty",
        "log: file:///logs/leftovers.log",
    ]


def test_the_suite_counts_what_is_in_it() -> None:
    suite = the_suite(a_report(stages=STAGES))

    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (5, 1, 2, 1)
    assert suite.time == 1.5


def test_the_suite_says_what_was_tested_and_when() -> None:
    report = a_report(
        package={"name": "hello", "version": "2.10-3"},
        platform="debian-12 on x86_64",
        started_at=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
    )

    suite = the_suite(report)

    assert suite.name == "hello 2.10-3 on debian-12 on x86_64"
    assert suite.timestamp == "2026-01-02T03:04:05"
    assert {one.name: one.value for one in suite.properties()}["package.version"] == "2.10-3"


def test_only_what_the_schema_knows_is_written() -> None:
    root = ElementTree.fromstring(junit_xml(a_report(outcome=Outcome.FAILED, stages=STAGES)))

    # junit-10.xsd of Jenkins' xUnit plugin.
    known = {
        "testsuites": {"name", "time", "tests", "failures", "errors"},
        "testsuite": {"name", "tests", "failures", "errors", "time", "skipped", "timestamp", "id"},
        "properties": set(),
        "property": {"name", "value"},
        "testcase": {"name", "time", "classname"},
        "failure": {"type", "message"},
        "error": {"type", "message"},
        "skipped": {"type", "message"},
        "system-out": set(),
    }
    assert all(set(element.attrib) <= known[element.tag] for element in root.iter())
    assert re.fullmatch(r"(([0-9]{0,3},)*[0-9]{3}|[0-9]{0,3})*(\.[0-9]*)?", root.attrib["time"])


@given(st.text(alphabet=st.characters(codec=None), max_size=30), st.text(max_size=30))
def test_no_text_makes_it_unreadable(message: str, evidence: str) -> None:
    finding = Finding(kind=Kind.SCRIPTLET_FAILED, message=message, evidence=f"\x00\x1b[31m\ufffe{evidence}")
    stage = StageResult(stage="install", outcome=Outcome.FAILED, findings=(finding,), reason=message)

    root = ElementTree.fromstring(junit_xml(a_report(stages=(stage,))).encode())

    [failure] = root.iter("failure")
    assert "scriptlet_failed" in str(failure.text)
