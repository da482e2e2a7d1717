"""One attempt at a task: a machine, the plan on it, the logs and the report in the artifact store."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from alts.command import OutputSink
from alts.distributions import Tool
from alts.junit import junit_xml
from alts.packages.base import PackageManager
from alts.pipeline import PlanResult, Run, run_plan
from alts.runners.base import Instance, Order, Provisioned, Runner
from alts.shared.artifacts import JUNIT_NAME, REPORT_NAME, STATE_NAME, TAP_NAME, ArtifactStore, artifact_key
from alts.shared.errors import StorageUnavailable
from alts.shared.report import STATE, Outcome, Report, StageResult, outcome_of_stages, reason_of_stages
from alts.snapshots.difference import brief_changes, whole_changes
from alts.stages.base import Observations, Stage
from alts.stop import Stop
from alts.tap import tap

log = logging.getLogger(__name__)

# S3 may be away for a moment; the verdict waits this long for it (seconds between tries), then goes without its log.
UPLOAD_DELAYS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


@dataclass(frozen=True)
class Executor:
    """Executes attempts: what it needs is handed in once."""

    runner: Runner
    plans: Mapping[str, Sequence[Stage]]
    """By the name that a request knows them by."""
    packages: Mapping[Tool, PackageManager]
    artifacts: ArtifactStore
    artifacts_root: str
    worker: str
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    upload_delays: Sequence[float] = UPLOAD_DELAYS

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
                keep_log=lambda stage, text: self._keep(order, f"{stage}.log", text, stop=stop),
                show=show,
            )
            result = run_plan(self.plans[order.spec.plan], run)
        report = self._report(order, result, machine, started)
        for name, text, content_type in _companions(report, result.seen):
            self._keep(order, name, text, stop=stop, content_type=content_type)
        where = self._keep(order, REPORT_NAME, report.to_json(), stop=stop, content_type="application/json")
        return report if where else replace(report, artifacts=None)

    def _report(self, order: Order, result: PlanResult, machine: Sequence[Provisioned], started: datetime) -> Report:
        outcome = outcome_of_stages(result.stages)
        tools = dict(machine[0].tools) if machine else {}
        if result.seen.package_manager:
            tools["package_manager"] = result.seen.package_manager
        return Report(
            task_id=order.task_id,
            attempt=order.attempt,
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

    def _key(self, order: Order, name: str) -> str:
        return artifact_key(self.artifacts_root, order.task_id, order.attempt, name)

    def _keep(
        self, order: Order, name: str, text: str, *, stop: Stop, content_type: str = "text/plain; charset=utf-8"
    ) -> str | None:
        """Where the artifact is now; None where the store did not take it in all the tries."""
        key = self._key(order, name)
        for delay in (*self.upload_delays, None):
            try:
                self.artifacts.put(key, text.encode(), content_type=content_type)
            except StorageUnavailable as error:
                if delay is None or stop.reason is not None:
                    log.warning(
                        "artifact not stored",
                        extra={"task_id": order.task_id, "artifact": key, "error": str(error)},
                    )
                    return None
                stop.sleep(delay)
            else:
                return self.artifacts.location(key)
        return None


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
