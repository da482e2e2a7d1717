"""A report as JUnit XML: one test case for every stage. Pure.

The format has no standard; this keeps to the schema that Jenkins' xUnit plugin checks with:
https://github.com/jenkinsci/xunit-plugin/blob/master/src/main/resources/org/jenkinsci/plugins/xunit/types/model/xsd/junit-10.xsd
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from alts.report_text import findings_text, title_of
from alts.shared.report import Outcome, Report, StageResult

# Char of XML 1.0: the rest cannot be written at all, not even as a character reference.
_ILLEGAL = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_ELEMENTS = {
    Outcome.FAILED: "failure",
    Outcome.ERRORED: "error",
    # Nothing was learned, and a run that somebody ended must not look like one that is well.
    Outcome.CANCELLED: "error",
    Outcome.SKIPPED: "skipped",
}


def junit_xml(report: Report) -> str:
    """The document, with declaration. Characters that XML cannot hold are left out."""
    title = _legal(title_of(report))
    counts = {
        "tests": str(len(report.stages)),
        "failures": str(_count(report, Outcome.FAILED)),
        "errors": str(_count(report, Outcome.ERRORED, Outcome.CANCELLED)),
    }
    seconds = _seconds(sum(stage.seconds for stage in report.stages))
    root = ElementTree.Element("testsuites", {"name": title, **counts, "time": seconds})
    suite = ElementTree.SubElement(
        root,
        "testsuite",
        {
            "name": title,
            **counts,
            "skipped": str(_count(report, Outcome.SKIPPED)),
            "time": seconds,
            "id": report.task_id,
        },
    )
    if report.started_at is not None:
        suite.set("timestamp", report.started_at.replace(tzinfo=None).isoformat(timespec="seconds"))
    _add_properties(suite, report)
    for stage in report.stages:
        _add_case(suite, stage, classname=_legal(report.package.get("name") or report.platform or report.task_id))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _add_properties(suite: ElementTree.Element, report: Report) -> None:
    properties = {
        "task_id": report.task_id,
        "attempt": str(report.attempt),
        "outcome": report.outcome,
        "platform": report.platform,
        "worker": report.worker,
        **{f"package.{key}": value for key, value in report.package.items()},
        **{f"image.{key}": value for key, value in report.image.items()},
        **{f"tools.{key}": value for key, value in report.tools.items()},
    }
    parent = ElementTree.SubElement(suite, "properties")
    for name, value in sorted(properties.items()):
        ElementTree.SubElement(parent, "property", {"name": _legal(name), "value": _legal(value)})


def _add_case(suite: ElementTree.Element, stage: StageResult, *, classname: str) -> None:
    case = ElementTree.SubElement(
        suite, "testcase", {"classname": classname, "name": _legal(stage.stage), "time": _seconds(stage.seconds)}
    )
    found = findings_text(stage)
    said = [f"log: {stage.log}"] if stage.log else []
    if element := _ELEMENTS.get(stage.outcome):
        kinds = [finding.kind.value for finding in stage.findings]
        ending = ElementTree.SubElement(case, element, {"message": _legal(stage.reason)})
        ending.set("type", kinds[0] if kinds else stage.outcome.value)
        ending.text = _legal(found) or None
    elif found:
        said.insert(0, found)
    if said:
        ElementTree.SubElement(case, "system-out").text = _legal("\n".join(said))


def _count(report: Report, *outcomes: Outcome) -> int:
    return sum(stage.outcome in outcomes for stage in report.stages)


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f}"


def _legal(text: str) -> str:
    return _ILLEGAL.sub("", text)
