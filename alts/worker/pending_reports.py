"""Reports that the ledger has not answered yet, on the worker's disk: a verdict outlives its worker."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from alts.shared.atomic_file import remove_drafts, write_atomically
from alts.shared.models.report import REPORT, Report

log = logging.getLogger(__name__)

_SUFFIX = ".json"


class PendingReports:
    """One file per attempt, `<task id>-<attempt>.json`, written before the ledger is told, removed after its answer."""

    def __init__(self, folder: Path) -> None:
        """Only this process may write to `folder`."""
        self._folder = folder
        remove_drafts(folder)

    def keep(self, report: Report) -> None:
        """Write the report to disk. A write error is only logged, because the report is about to be delivered."""
        path = self._path(report)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_atomically(path, report.to_json().encode(), durable=False)
        except OSError as error:
            log.warning("report not kept", extra={"error": str(error)})

    def forget(self, report: Report) -> None:
        """Remove the report: the ledger has accepted it or will never do so."""
        self._path(report).unlink(missing_ok=True)

    def waiting(self) -> Iterator[Report]:
        """Yield the kept reports, oldest first. Unreadable files are removed."""
        for path in sorted(self._folder.glob(f"*{_SUFFIX}"), key=_age):
            try:
                yield REPORT.validate_json(path.read_bytes())
            except FileNotFoundError:
                continue  # delivered meanwhile
            except (OSError, ValidationError) as error:
                log.warning("report not readable", extra={"report": path.name, "error": str(error)})
                path.unlink(missing_ok=True)

    def adopt(self, folder: Path) -> int:
        """Move all reports from a dead worker's folder. Returns their number. The caller holds the slot's lock."""
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
