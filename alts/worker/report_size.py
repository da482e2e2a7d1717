"""Shortens reports to the size that the scheduler accepts. Their content is under the package's control. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pydantic import TypeAdapter

from alts.checks.leftovers.find import shown
from alts.checks.state.grouping import cut
from alts.shared.bounds import LARGEST_REPORT, MOST_VALUES, has_more_values
from alts.shared.models.report import REPORT, Report, StageResult, shortened

_STAGES: TypeAdapter[tuple[StageResult, ...]] = TypeAdapter(tuple[StageResult, ...])

# Limits for a report that is too large.
_CLOSURE_LINES = 1000
_LONGEST_LINE = 100  # characters
_FINDINGS = 3  # per kind and severity
_MOST_FINDINGS = 50  # per stage
_ATTEMPTS = 50  # the latest


def fitted(report: Report) -> Report:
    """Return the report itself if it fits, else a shortened copy.

    State changes, closure, package and steps go first, then stages and earlier attempts; artifacts hold the whole of
    them.
    Outcome, stages with their outcomes, and the first findings of each kind always stay.
    """
    if _fits(REPORT.dump_json(report)):
        return report
    package = {key: _line(value) for key, value in report.package.items()}
    stages = tuple(replace(stage, steps=()) for stage in report.stages)
    report = replace(report, state=(), closure=_lines(report.closure), package=package, stages=stages)
    if _fits(REPORT.dump_json(report)):
        return report
    return replace(
        report, stages=_brief(report.stages), reason=_line(report.reason), attempts=report.attempts[-_ATTEMPTS:]
    )


def fitted_stages(stages: Sequence[StageResult]) -> tuple[StageResult, ...]:
    """Return the stages of an unfinished attempt, shortened if they do not fit."""
    stages = tuple(stages)
    return stages if _fits(_STAGES.dump_json(stages)) else _brief(stages)


def _fits(content: bytes) -> bool:
    return len(content) <= LARGEST_REPORT and not has_more_values(content, MOST_VALUES)


def _brief(stages: Sequence[StageResult]) -> tuple[StageResult, ...]:
    return tuple(
        replace(
            stage,
            steps=(),
            reason=_line(stage.reason),
            findings=tuple(
                replace(one, message=_line(one.message), evidence=_line(one.evidence))
                for one in shown(stage.findings, _FINDINGS)[:_MOST_FINDINGS]
            ),
        )
        for stage in stages
    )


def _lines(lines: Sequence[str]) -> tuple[str, ...]:
    return tuple(map(_line, cut(lines, _CLOSURE_LINES)))


def _line(text: str) -> str:
    return shortened(text, _LONGEST_LINE)
