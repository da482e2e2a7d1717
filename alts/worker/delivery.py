"""Delivers reports to the ledger, and summaries of finished tasks to Celery's result backend."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from structlog.contextvars import bound_contextvars

from alts.shared.errors import LedgerUnavailable, StaleAttempt, StorageUnavailable
from alts.shared.models.celery_result import Summary, summary_content, summary_key, summary_of
from alts.shared.models.ledger import Ledger
from alts.shared.models.report import Outcome, Report
from alts.worker.artifact_sink import SETTLE_SECONDS, ArtifactSink
from alts.worker.patience import Patience
from alts.worker.pending_reports import PendingReports

log = logging.getLogger(__name__)


class Delivery:
    """Keeps each report on disk until the ledger has accepted or refused it.

    Celery's backend keeps the first success it receives for a task, so only the report that finishes the task gets a
    summary.
    """

    def __init__(
        self,
        ledger: Ledger,
        pending: PendingReports,
        artifacts: ArtifactSink,
        *,
        patience: Patience,
        results_root: str,
    ) -> None:
        """`results_root`: the folder of summaries in the artifact store, e.g. "results"."""
        self._ledger = ledger
        self._pending = pending
        self._artifacts = artifacts
        self._patience = patience
        self._results_root = results_root

    def deliver(self, report: Report) -> None:
        """Report to the ledger, and store a summary if the task has finished with this report.

        Raises StaleAttempt, or LedgerUnavailable. A retryable LedgerUnavailable leaves the report to deliver_pending.
        """
        self._pending.keep(report)
        try:
            outcome = self._patience.ask(lambda: self._ledger.report(report.task_id, report.attempt, report))
        except StaleAttempt:
            self._pending.forget(report)
            raise
        except LedgerUnavailable as error:
            if not error.retryable:
                self._pending.forget(report)
            raise
        self._pending.forget(report)
        self._keep_summary(report, outcome)

    def deliver_pending(self) -> None:
        """Report what the ledger has not answered yet, including reports adopted from dead workers.

        Raises LedgerUnavailable if the ledger is still away.
        """
        for report in self._pending.waiting():
            with bound_contextvars(task_id=report.task_id, attempt=report.attempt):
                self._deliver_late(report)
            self._pending.forget(report)

    def _deliver_late(self, report: Report) -> None:
        """Raises a retryable LedgerUnavailable; logs a final refusal."""
        try:
            outcome = self._ledger.report(report.task_id, report.attempt, report)
        except StaleAttempt:
            log.warning("late report refused: the attempt is stale")
        except LedgerUnavailable as error:
            if error.retryable:
                raise
            log.error("late report refused", extra={"error": str(error)})  # noqa: TRY400 - no traceback needed
        else:
            log.info("late report delivered")
            self._keep_summary(report, outcome)

    def _keep_summary(self, report: Report, outcome: Outcome | None) -> None:
        if outcome is None:
            return
        summary: Summary = summary_of(report, outcome)
        key = summary_key(self._results_root, report.task_id)
        content = summary_content(summary, now=datetime.now(UTC))
        # The attempt's group: the summary is stored after the artifacts that it names.
        group = f"{report.task_id}-{report.attempt}"
        try:
            self._artifacts.put(key, content, content_type="application/json", group=group)
        except StorageUnavailable as error:
            log.warning("summary not stored", extra={"error": str(error)})
            return
        self._artifacts.settle(group, seconds=SETTLE_SECONDS)
