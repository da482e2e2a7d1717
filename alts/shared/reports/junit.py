"""Render a report as JUnit XML: one test case per stage. Pure; junitparser writes the document.

The format has no standard. The output follows the schema that Jenkins' xUnit plugin checks:
https://github.com/jenkinsci/xunit-plugin/blob/master/src/main/resources/org/jenkinsci/plugins/xunit/types/model/xsd/junit-10.xsd
"""

from __future__ import annotations

import io
import re

from junitparser import Attr, Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from alts.shared.models.report import Outcome, Report, StageResult
from alts.shared.reports.text import findings_text, title_of

# All characters outside of Char (XML 1.0). They cannot be written at all, not even as character references.
_ILLEGAL = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_RESULTS = {
    Outcome.FAILED: Failure,
    Outcome.ERRORED: Error,
    # A cancelled run has no result, and must not look like a passed one.
    Outcome.CANCELLED: Error,
    Outcome.SKIPPED: Skipped,
}


class _Suite(TestSuite):
    """A suite with the attribute that the schema has and junitparser lacks."""

    id = Attr()


def junit_xml(report: Report) -> str:
    """Return the document with its XML declaration. Characters that XML cannot hold are left out."""
    suite = _Suite(_legal(title_of(report)))
    suite.id = report.task_id
    if report.started_at is not None:
        suite.timestamp = report.started_at.replace(tzinfo=None).isoformat(timespec="seconds")
    for name, value in sorted(_properties(report).items()):
        suite.add_property(_legal(name), _legal(value))
    classname = _legal(report.package.get("name") or report.platform or report.task_id)
    suite.add_testcases([_case(stage, classname=classname) for stage in report.stages])
    document = JUnitXml(suite.name)
    document.add_testsuite(suite)
    # Not update_statistics(): it also sets `skipped`, which the schema allows in a suite only.
    document.tests, document.failures, document.errors = suite.tests, suite.failures, suite.errors
    document.time = suite.time
    text = io.BytesIO()
    document.write(text, pretty=True)
    return text.getvalue().decode()


def _properties(report: Report) -> dict[str, str]:
    return {
        "task_id": report.task_id,
        "attempt": str(report.attempt),
        "outcome": report.outcome,
        "platform": report.platform,
        "worker": report.worker,
        **{f"package.{key}": value for key, value in report.package.items()},
        **{f"image.{key}": value for key, value in report.image.items()},
        **{f"tools.{key}": value for key, value in report.tools.items()},
    }


def _case(stage: StageResult, *, classname: str) -> TestCase:
    case = TestCase(_legal(stage.stage), classname=classname, time=round(stage.seconds, 3))
    found = findings_text(stage)
    said = [f"log: {stage.log}"] if stage.log else []
    if make_result := _RESULTS.get(stage.outcome):
        kind = stage.findings[0].kind.value if stage.findings else stage.outcome.value
        result = make_result(_legal(stage.reason), type_=kind)
        if found:
            result.text = _legal(found)
        case.result = result
    elif found:
        said.insert(0, found)
    if said:
        case.system_out = _legal("\n".join(said))
    return case


def _legal(text: str) -> str:
    return _ILLEGAL.sub("", text)
