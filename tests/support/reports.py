"""Comparison of reports of one test from different stacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def substance(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a report on which two runs agree: no ids, no times, no places of storage."""
    return {
        "outcome": report["outcome"],
        "reason": report["reason"],
        "platform": report["platform"],
        "package": report["package"],
        "stages": [
            (stage["stage"], stage["outcome"], stage["exit_code"], stage["findings"], stage["reason"])
            for stage in report["stages"]
        ],
        "tools": sorted(report["tools"]),
    }


def same_in_substance(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return substance(one) == substance(other)
