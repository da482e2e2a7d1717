"""Executes one attempt: makes a machine, runs the plan on it, stores logs and report."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from alts.checks.state.difference import brief_changes, whole_changes
from alts.core.instance import Instance
from alts.core.output import OutputSink
from alts.core.stop import Stop
from alts.package_managers.base import PackageManager
from alts.pipeline.observations import Observations
from alts.pipeline.run import PlanResult, Run, run_plan
from alts.pipeline.stage import Stage
from alts.runners.base import Order, Runner, provision
from alts.shared.errors import StorageUnavailable
from alts.shared.models.distributions import Tool
from alts.shared.models.report import STATE, Outcome, Report, StageResult, outcome_of_stages, reason_of_stages
from alts.shared.reports.junit import junit_xml
from alts.shared.reports.tap import tap
from alts.shared.storage.base import JUNIT_NAME, REPORT_NAME, STATE_NAME, TAP_NAME, artifact_key, group_of
from alts.worker.artifact_sink import SETTLE_SECONDS, ArtifactSink
from alts.worker.report_size import fitted, fitted_stages

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Executor:
    """Executes attempts on the machines of one runner. Any number of threads may use it at once."""

    runner: Runner
    plans: Mapping[str, Sequence[Stage]]
    """By the plan name that requests use."""
    packages: Mapping[Tool, PackageManager]
    artifacts: ArtifactSink
    artifacts_root: str
    """First part of all artifact keys, e.g. "artifacts"."""
    worker: str
    """The worker's name in reports."""
    repository_max_age: float = 0.0
    """Seconds after which the package lists of an image are not used any more; 0 to use none."""
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def execute(self, order: Order, *, stop: Stop, show: Callable[[tuple[StageResult, ...]], None]) -> Report:
        """Run the plan on a new machine, destroy the machine, and store logs and report. Returns the report.

        report.json is stored last: when it is there, so are the logs and the other forms. `show` receives the stages
        so far after each stage.
        Raises Stopped if the lease is lost or the worker drains: the attempt has no report then.
        """
        started = self.now()
        with ExitStack() as stack:
            provided = _Provision(self.runner, order, stack)
            run = Run(
                spec=order.spec,
                packages=self.packages[order.spec.platform.release.tool],
                stop=stop,
                provide=provided.provide,
                keep_log=lambda stage, text: self._keep(order, f"{stage}.log", text),
                show=lambda stages: show(fitted_stages(stages)),
                lists_fetched_at=lambda: self._usable(provided.lists_fetched_at, order),
                now=self.now,
            )
            result = run_plan(self.plans[order.spec.plan], run)
        report = self._report(order, result, provided, started)
        for name, text, content_type in _companions(report, result.seen):
            self._keep(order, name, text, content_type=content_type)
        where = self._keep(order, REPORT_NAME, report.to_json(), content_type="application/json")
        self.artifacts.settle(group_of(self._key(order, REPORT_NAME)), seconds=SETTLE_SECONDS)
        return report if where else replace(report, artifacts=None)

    def _report(self, order: Order, result: PlanResult, provided: _Provision, started: datetime) -> Report:
        outcome = outcome_of_stages(result.stages)
        tools = dict(provided.tools)
        if result.seen.package_manager:
            tools["package_manager"] = result.seen.package_manager
        report = Report(
            task_id=order.task_id,
            attempt=order.attempt,
            attempts=order.earlier,
            outcome=outcome,
            reason=reason_of_stages(result.stages),
            retryable=outcome is Outcome.ERRORED and result.retryable,
            stages=tuple(result.stages),
            platform=str(order.spec.platform),
            package=_package(result.seen),
            closure=result.seen.closure,
            state=brief_changes(result.seen.snapshots),
            indexes={name: fetched.isoformat(timespec="seconds") for name, fetched in result.seen.indexes.items()},
            image=dict(provided.image),
            tools=tools,
            worker=self.worker,
            started_at=started,
            finished_at=self.now(),
            artifacts=self.artifacts.location(self._key(order, "")),
        )
        return fitted(report)

    def _usable(self, fetched_at: datetime | None, order: Order) -> datetime | None:
        """Return when the image's lists were fetched; None if they are too old for the task, or not from the past."""
        if fetched_at is None or order.spec.refresh:
            return None
        return fetched_at if 0 <= (self.now() - fetched_at).total_seconds() <= self.repository_max_age else None

    def _key(self, order: Order, name: str) -> str:
        return artifact_key(self.artifacts_root, order.task_id, order.attempt, name)

    def _keep(
        self, order: Order, name: str, text: str, *, content_type: str = "text/plain; charset=utf-8"
    ) -> str | None:
        """Put an artifact. Returns its location, or None if there is no room for it."""
        key = self._key(order, name)
        try:
            self.artifacts.put(key, text.encode(), content_type=content_type)
        except StorageUnavailable as error:
            log.warning("artifact not stored", extra={"artifact": key, "error": str(error)})
            return None
        return self.artifacts.location(key)


class _Provision:
    """The machine of one attempt: made on request, destroyed when `stack` closes."""

    def __init__(self, runner: Runner, order: Order, stack: ExitStack) -> None:
        self._runner = runner
        self._order = order
        self._stack = stack
        self.image: Mapping[str, str] = {}
        """Provisioned.image; empty before provide()."""
        self.tools: Mapping[str, str] = {}
        """Provisioned.tools; empty before provide()."""
        self.lists_fetched_at: datetime | None = None
        """Provisioned.lists_fetched_at; None before provide()."""

    def provide(self, stop: Stop, sink: OutputSink) -> Instance:
        """Destroy what earlier attempts left, then make the machine. Raises what alts.runners.base.provision raises."""
        if self._order.attempt > 1:
            self._runner.remove_leftovers(self._order.task_id, below=self._order.attempt)
        provisioned = self._stack.enter_context(provision(self._runner, self._order, stop=stop, log=sink))
        self.image, self.tools = provisioned.image, provisioned.tools
        self.lists_fetched_at = provisioned.lists_fetched_at
        return provisioned.instance


def _companions(report: Report, seen: Observations) -> Iterator[tuple[str, str, str]]:
    """Yield name, content and type of each artifact that restates the report."""
    if len(seen.snapshots) > 1:
        state = STATE.dump_json(whole_changes(seen.snapshots), indent=2).decode()
        yield STATE_NAME, state, "application/json"
    yield JUNIT_NAME, junit_xml(report), "application/xml"
    yield TAP_NAME, tap(report), "text/plain; charset=utf-8"


def _package(seen: Observations) -> dict[str, str]:
    """Return the installed package's identity, origin and checksum; empty if nothing was installed."""
    package, candidate, identity = seen.package, seen.candidate, seen.identity
    if package is None or candidate is None:
        return {}
    found = {"name": package.name, "version": package.version, "architecture": package.architecture}
    found["origin"] = "already installed" if seen.already_installed else candidate.origin
    if identity is not None:
        found |= {"repository": identity.repository, "file": identity.file, "sha256": identity.sha256}
    return found
