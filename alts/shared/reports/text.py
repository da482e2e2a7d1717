"""Texts that several renderings of a report share. Pure."""

from __future__ import annotations

from alts.shared.models.report import Finding, Report, StageResult


def title_of(report: Report) -> str:
    """Return the report's title, e.g. "hello 2.10-3 on debian-12 on x86_64"."""
    package = " ".join(filter(None, (report.package.get("name"), report.package.get("version"))))
    return " on ".join(filter(None, (package or report.task_id, report.platform)))


def findings_text(stage: StageResult) -> str:
    """Return one line per finding, with its evidence indented below it."""
    return "\n".join(_line(finding) for finding in stage.findings)


def _line(finding: Finding) -> str:
    evidence = "".join(f"\n    {line}" for line in finding.evidence.splitlines())
    return f"{finding.severity}: {finding.kind}: {finding.message}{evidence}"
