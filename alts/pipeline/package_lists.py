"""The machine's package lists: those that its image brings, and those that are fetched for the task."""

from __future__ import annotations

from collections.abc import Sequence

from alts.package_managers.base import Operation
from alts.pipeline.context import StageContext
from alts.shared.models.report import Finding, Kind

DISTRIBUTION = "distribution"
"""Key of Observations.indexes for all repositories of the distribution."""

# Before the transaction begins, a list that is older than its repository leads to one of these.
_EXPLAINED = frozenset(
    {Kind.PACKAGE_NOT_FOUND, Kind.VERSION_NOT_AVAILABLE, Kind.DEPENDENCY_UNMET, Kind.REPOSITORY_UNREACHABLE}
)


def fetch_missing(context: StageContext) -> tuple[Finding, ...]:
    """Fetch the lists that the image does not bring: those of the task's repositories, and all if it brings none.

    Returns the findings if that failed. Raises what StageContext.run raises.
    """
    spec, seen = context.spec, context.seen
    if seen.lists_fetched_at is None:
        return fetch_all(context)
    seen.indexes[DISTRIBUTION] = seen.lists_fetched_at
    context.log.line(f"[the distribution's lists came with the image, fetched {seen.lists_fetched_at:%F %T} UTC]")
    return _fetch(context, context.packages.refresh_brought(spec)) if spec.repositories else ()


def fetch_all(context: StageContext) -> tuple[Finding, ...]:
    """Fetch all lists. Returns the findings if that failed. Raises what StageContext.run raises."""
    now = context.now()
    findings = _fetch(context, context.packages.refresh(context.spec))
    if not findings:
        context.seen.lists_fetched_at = None
        context.seen.indexes[DISTRIBUTION] = now
    return findings


def may_be_outdated(context: StageContext, findings: Sequence[Finding]) -> bool:
    """Return whether the installation may have failed because the lists came with the image."""
    return context.seen.lists_fetched_at is not None and any(finding.kind in _EXPLAINED for finding in findings)


def _fetch(context: StageContext, refresh: Operation[tuple[Finding, ...]]) -> tuple[Finding, ...]:
    spec, now = context.spec, context.now()
    done = context.run(refresh.argv, repeatable=refresh.repeatable)
    if findings := refresh.judge(done):
        served = context.packages.served(spec, done)
        return findings if served is None else context.ask(served)
    context.seen.indexes.update({repository.source[0]: now for repository in spec.repositories})
    return ()
