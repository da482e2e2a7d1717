"""Render a report in the Test Anything Protocol: one test point per stage. Pure.

Version 13, which readers of version 14 accept too: https://testanything.org/tap-version-13-specification.html

By hand: the writer in tap.py is for test runners. It writes no YAML block and escapes nothing.
"""

from __future__ import annotations

import json

from alts.shared.models.report import Outcome, Report, StageResult
from alts.shared.reports.text import title_of


def tap(report: Report) -> str:
    """Return the document. A stage's findings are in the YAML block below its line."""
    lines = ["TAP version 13", f"1..{len(report.stages)}", f"# {_one_line(title_of(report))}"]
    for number, stage in enumerate(report.stages, 1):
        lines.extend(_point(number, stage))
    return "".join(f"{line}\n" for line in lines)


def _point(number: int, stage: StageResult) -> list[str]:
    skipped = stage.outcome is Outcome.SKIPPED
    ok = "ok" if skipped or stage.outcome is Outcome.PASSED else "not ok"
    directive = f" # SKIP {_one_line(stage.reason)}" if skipped else ""
    return [f"{ok} {number} - {_one_line(stage.stage)}{directive}", *_block(stage)]


def _block(stage: StageResult) -> list[str]:
    """Quote texts as JSON, which is YAML too, so that no text can break out of its line."""
    lines = [
        f"outcome: {_quoted(stage.outcome)}",
        f"message: {_quoted(stage.reason)}",
        f"duration_ms: {stage.seconds * 1000:.0f}",
    ]
    if stage.log:
        lines.append(f"log: {_quoted(stage.log)}")
    if stage.findings:
        lines.append("findings:")
    for finding in stage.findings:
        lines += [
            f"  - kind: {_quoted(finding.kind)}",
            f"    severity: {_quoted(finding.severity)}",
            f"    message: {_quoted(finding.message)}",
            f"    evidence: {_quoted(finding.evidence)}",
        ]
    return [f"  {line}" for line in ("---", *lines, "...")]


def _quoted(text: str) -> str:
    return json.dumps(str(text))


def _one_line(text: str) -> str:
    """Remove "#" and line ends: they would begin a directive or the next test point."""
    return " ".join(text.replace("#", "").split())
