"""Reports that the ledger has not heard yet, on the worker's disk: a verdict outlives the worker that has found it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from alts.shared.models.report import REPORT, Report

log = logging.getLogger(__name__)

_SUFFIX = ".json"


class UnheardReports:
    """One file for each attempt, from before the ledger is told until it has answered."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, report: Report) -> None:
        """Write it down. A disk that takes nothing is only logged: the report is about to be told anyway."""
        path = self._path(report)
        draft = path.with_name(f".{path.name}")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            draft.write_text(report.to_json(), encoding="utf-8")
            draft.replace(path)
        except OSError as error:
            log.warning("report not kept", extra={"task_id": report.task_id, "error": str(error)})

    def forget(self, report: Report) -> None:
        """The ledger has heard it, or will never want it."""
        self._path(report).unlink(missing_ok=True)

    def waiting(self) -> Iterator[Report]:
        """Those that are still to be told, the oldest first."""
        for path in sorted(self._folder.glob(f"*{_SUFFIX}"), key=_age):
            try:
                yield REPORT.validate_json(path.read_bytes())
            except FileNotFoundError:
                continue  # told meanwhile
            except (OSError, ValidationError) as error:
                log.warning("report not readable", extra={"report": path.name, "error": str(error)})
                path.unlink(missing_ok=True)

    def adopt(self, folder: Path) -> int:
        """Take over those of a dead worker, whose slot must be locked; says how many."""
        paths = list(folder.glob(f"*{_SUFFIX}"))
        for path in paths:
            self._folder.mkdir(parents=True, exist_ok=True)
            path.replace(self._folder / path.name)
        return len(paths)

    def _path(self, report: Report) -> Path:
        return self._folder / f"{report.task_id}-{report.attempt}{_SUFFIX}"


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
