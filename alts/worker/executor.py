"""One attempt at a task: a machine, the plan on it, the logs and the report in the artifact store."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from alts.checks.state.difference import brief_changes, whole_changes
from alts.core.command import OutputSink
from alts.core.instance import Instance
from alts.core.stop import Stop
from alts.package_managers.base import PackageManager
from alts.pipeline.context import Observations, Stage
from alts.pipeline.run import PlanResult, Run, run_plan
from alts.runners.base import Order, Provisioned, Runner
from alts.shared.errors import StorageUnavailable
from alts.shared.models.distributions import Tool
from alts.shared.models.report import STATE, Outcome, Report, StageResult, outcome_of_stages, reason_of_stages
from alts.shared.reports.junit import junit_xml
from alts.shared.reports.tap import tap
from alts.shared.storage.base import JUNIT_NAME, REPORT_NAME, STATE_NAME, TAP_NAME, artifact_key, group_of
from alts.worker.report_size import fitted, fitted_stages

log = logging.getLogger(__name__)

# Seconds to wait for uploads before the verdict is told, so that its logs can be read at once; a slow store is not
# waited for longer.
SETTLE_SECONDS = 5.0


class ArtifactSink(Protocol):
    """Takes artifacts: a store (alts.shared.storage.base), or what stands before it (alts.worker.spool)."""

    def put(self, key: str, content: bytes, *, content_type: str = "text/plain; charset=utf-8") -> None:
        """Take an artifact. Raises StorageUnavailable."""

    def location(self, key: str) -> str:
        """An address that says where it is, or will be."""


def _settled(group: str, *, seconds: float) -> bool:  # noqa: ARG001 - what a store that takes all at once needs
    return True


@dataclass(frozen=True)
class Executor:
    """Executes attempts: what it needs is handed in once."""

    runner: Runner
    plans: Mapping[str, Sequence[Stage]]
    """By the name that a request knows them by."""
    packages: Mapping[Tool, PackageManager]
    artifacts: ArtifactSink
    artifacts_root: str
    worker: str
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    settle: Callable[..., object] = _settled
    """Called with the attempt's group of artifacts and `seconds`, waits until they are stored: Spool.settle."""

    def execute(self, order: Order, *, stop: Stop, show: Callable[[tuple[StageResult, ...]], None]) -> Report:
        """The report of one attempt, stored as report.json behind its logs and its other forms.

        Raises Stopped where the attempt is not ours to finish any more. The machine is gone in any case.
        """
        started = self.now()
        machine: list[Provisioned] = []
        with ExitStack() as stack:

            def provide(stage_stop: Stop, sink: OutputSink) -> Instance:
                if order.attempt > 1:
                    self.runner.remove_leftovers(order.task_id, below=order.attempt)
                provisioned = self.runner.provision(order, stop=stage_stop, log=sink)
                machine.append(stack.enter_context(provisioned))
                return machine[0].instance

            run = Run(
                spec=order.spec,
                packages=self.packages[order.spec.release.tool],
                stop=stop,
                provide=provide,
                keep_log=lambda stage, text: self._keep(order, f"{stage}.log", text),
                show=lambda stages: show(fitted_stages(stages)),
            )
            result = run_plan(self.plans[order.spec.plan], run)
        report = self._report(order, result, machine, started)
        for name, text, content_type in _companions(report, result.seen):
            self._keep(order, name, text, content_type=content_type)
        where = self._keep(order, REPORT_NAME, report.to_json(), content_type="application/json")
        self.settle(group_of(self._key(order, REPORT_NAME)), seconds=SETTLE_SECONDS)
        return report if where else replace(report, artifacts=None)

    def _report(self, order: Order, result: PlanResult, machine: Sequence[Provisioned], started: datetime) -> Report:
        outcome = outcome_of_stages(result.stages)
        tools = dict(machine[0].tools) if machine else {}
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
            platform=order.spec.platform,
            package=_package(result.seen),
            closure=result.seen.closure,
            state=brief_changes(result.seen.snapshots),
            image=dict(machine[0].image) if machine else {},
            tools=tools,
            worker=self.worker,
            started_at=started,
            finished_at=self.now(),
            artifacts=self.artifacts.location(self._key(order, "")),
        )
        return fitted(report)

    def _key(self, order: Order, name: str) -> str:
        return artifact_key(self.artifacts_root, order.task_id, order.attempt, name)

    def _keep(
        self, order: Order, name: str, text: str, *, content_type: str = "text/plain; charset=utf-8"
    ) -> str | None:
        """Where the artifact is, or will be; None where there is no room for it."""
        key = self._key(order, name)
        try:
            self.artifacts.put(key, text.encode(), content_type=content_type)
        except StorageUnavailable as error:
            extra = {"task_id": order.task_id, "artifact": key, "error": str(error)}
            log.warning("artifact not stored", extra=extra)
            return None
        return self.artifacts.location(key)


def _companions(report: Report, seen: Observations) -> Iterator[tuple[str, str, str]]:
    """What is kept beside the report: name, content, type."""
    if len(seen.snapshots) > 1:
        state = STATE.dump_json(whole_changes(seen.snapshots), indent=2).decode()
        yield STATE_NAME, state, "application/json"
    yield JUNIT_NAME, junit_xml(report), "application/xml"
    yield TAP_NAME, tap(report), "text/plain; charset=utf-8"


def _package(seen: Observations) -> dict[str, str]:
    """What was installed, where it came from, and what proves it."""
    package, candidate, identity = seen.package, seen.candidate, seen.identity
    if package is None or candidate is None:
        return {}
    found = {"name": package.name, "version": package.version, "architecture": package.architecture}
    found["origin"] = "already installed" if seen.already_installed else candidate.origin
    if identity is not None:
        found |= {"repository": identity.repository, "file": identity.file, "sha256": identity.sha256}
    return found
