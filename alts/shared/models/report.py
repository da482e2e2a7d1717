"""What was learned: findings make stage results, stage results make a report with one outcome."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import TypeAdapter

from alts.shared.bounds import MOST_VALUES, AtMost


class Outcome(StrEnum):
    """What was learned about the package, or why nothing was."""

    PASSED = "passed"
    FAILED = "failed"
    """The package's fault."""
    ERRORED = "errored"
    """Ours."""
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    """Only of a stage: it did not run, and `reason` says why."""


class Severity(StrEnum):
    """How much a finding weighs: only an error decides the outcome."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Kind(StrEnum):
    """What a finding is about; one taxonomy for every package format."""

    PACKAGE_NOT_FOUND = "package_not_found"
    VERSION_NOT_AVAILABLE = "version_not_available"
    DEPENDENCY_UNMET = "dependency_unmet"
    PACKAGE_CONFLICT = "package_conflict"
    FILE_CONFLICT = "file_conflict"
    SCRIPTLET_FAILED = "scriptlet_failed"
    SIGNATURE_INVALID = "signature_invalid"
    CHECKSUM_MISMATCH = "checksum_mismatch"
    WRONG_PACKAGE_INSTALLED = "wrong_package_installed"
    INSTALL_FAILED = "install_failed"
    MISSING_FILE = "missing_file"
    MODIFIED_FILE = "modified_file"
    BROKEN_SYMLINK = "broken_symlink"
    MISSING_LIBRARY = "missing_library"
    BAD_RPATH = "bad_rpath"
    REMOVAL_FAILED = "removal_failed"
    LEFTOVER_FILE = "leftover_file"
    LEFTOVER_USER = "leftover_user"
    PROCESS_LEFT_RUNNING = "process_left_running"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    PROCESS_LIMIT_EXCEEDED = "process_limit_exceeded"
    DISK_LIMIT_EXCEEDED = "disk_limit_exceeded"

    REPOSITORY_UNREACHABLE = "repository_unreachable"
    IMAGE_UNAVAILABLE = "image_unavailable"
    PROVISION_FAILED = "provision_failed"
    INSTANCE_LOST = "instance_lost"
    DISK_FULL = "disk_full"
    INTERNAL = "internal"

    @property
    def ours(self) -> bool:
        """Whether a finding of this kind is our fault: it makes ERRORED, never FAILED."""
        return self in _OURS


_OURS = frozenset(
    {
        Kind.REPOSITORY_UNREACHABLE,
        Kind.IMAGE_UNAVAILABLE,
        Kind.PROVISION_FAILED,
        Kind.INSTANCE_LOST,
        Kind.DISK_FULL,
        Kind.INTERNAL,
    }
)


# Characters. A package may name its files, and its programs may say, whatever they like; a report is to be read.
_LONGEST_MESSAGE = 1000
_LONGEST_EVIDENCE = 4000

MOST_STAGES = 100
"""Of one attempt; the longest plan has a seventh of that."""
# Longer lists are bounded by what a whole report may hold, see alts.worker.report_size.
_Lines = Annotated[tuple[str, ...], AtMost(MOST_VALUES)]
_Words = Annotated[Mapping[str, str], AtMost(100)]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One checked fact: a plain sentence, and the line of output or the path that proves it.

    Both are cut in the middle where they are longer than anybody reads.
    """

    kind: Kind
    message: str
    severity: Severity = Severity.ERROR
    evidence: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", shortened(self.message, _LONGEST_MESSAGE))
        object.__setattr__(self, "evidence", shortened(self.evidence, _LONGEST_EVIDENCE))


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """How one stage went."""

    stage: str
    outcome: Outcome
    seconds: float = 0.0
    exit_code: int | None = None
    """Of the stage's last command; None where none ran to its end."""
    findings: Annotated[tuple[Finding, ...], AtMost(MOST_VALUES)] = ()
    reason: str = ""
    """One plain line: why it was skipped, cancelled, or did not pass."""
    log: str | None = None
    """Where the log is: a file:// or s3:// address."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """What of one sort came, is another than before, or went: sorted lines, such as "/usr/share/locale/ (45 files)"."""

    added: _Lines = ()
    changed: _Lines = ()
    removed: _Lines = ()


@dataclass(frozen=True, kw_only=True)
class StateChange:
    """How the machine differs between two moments of the run; in a report grouped and cut, whole in state.json."""

    since: str
    """ "before", "installed" or "removed"."""
    until: str
    """ "installed", "removed" or "purged"."""
    files: Change = Change()
    users: Change = Change()
    groups: Change = Change()
    services: Change = Change()
    """Units, init scripts and cron entries."""
    processes: Change = Change()
    listening: Change = Change()
    packages: Change = Change()


class Ending(StrEnum):
    """How an attempt ended: an outcome, or without any."""

    PASSED = "passed"
    FAILED = "failed"
    ERRORED = "errored"
    CANCELLED = "cancelled"
    LOST = "lost"
    """Its worker stopped answering."""
    RELEASED = "released"
    """Its worker handed the task back undone; that does not count against max_attempts."""


@dataclass(frozen=True, kw_only=True)
class AttemptSummary:
    """What an attempt has brought."""

    attempt: int
    worker: str
    outcome: Ending
    reason: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    artifacts: str | None = None
    """Where its report.json and logs are; None where its worker has not said."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """The verdict of one attempt, with its evidence."""

    task_id: str
    attempt: int
    outcome: Outcome
    reason: str
    """One plain line: why this outcome."""
    retryable: bool = False
    """Another attempt may end otherwise; only an ERRORED one can be."""
    stages: Annotated[tuple[StageResult, ...], AtMost(MOST_STAGES)] = ()
    platform: str = ""
    """Such as "debian-12 on x86_64"."""
    package: _Words = field(default_factory=dict)
    """What was installed: name, version, architecture, origin; and as proof repository, file, sha256."""
    closure: _Lines = ()
    """All that its installation has installed, itself included, such as "hello 2.10-3"; sorted."""
    state: Annotated[tuple[StateChange, ...], AtMost(MOST_STAGES)] = ()
    """What the machine went through, from moment to moment."""
    image: _Words = field(default_factory=dict)
    """What the machine was made from: reference, id, origin ("pulled", "bootstrapped", "local")."""
    tools: _Words = field(default_factory=dict)
    """Versions of what really ran: terraform, ansible, docker, the package manager."""
    worker: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    artifacts: str | None = None
    """Where report.json and the logs are: a file:// or s3:// address of a folder."""
    attempts: Annotated[tuple[AttemptSummary, ...], AtMost(1000)] = ()
    """The attempts before this one, the first one first; where no worker wrote the report, all of them."""

    def to_json(self) -> str:
        return REPORT.dump_json(self, indent=2).decode()


REPORT: TypeAdapter[Report] = TypeAdapter(Report)
"""Reads and writes reports at the borders: JSON on disk, in the ledger and over HTTP."""

STATE: TypeAdapter[tuple[StateChange, ...]] = TypeAdapter(tuple[StateChange, ...])
"""The same for state.json."""


def shortened(text: str, limit: int) -> str:
    """At most `limit` characters: of a longer text the beginning and the end."""
    if len(text) <= limit:
        return text
    left_out = " [...] "
    half = (limit - len(left_out)) // 2
    return f"{text[:half]}{left_out}{text[-half:]}"


def outcome_of_findings(findings: Iterable[Finding]) -> Outcome:
    """Our own fault outweighs the package's: a verdict reached on a broken machine is none."""
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if any(finding.kind.ours for finding in errors):
        return Outcome.ERRORED
    return Outcome.FAILED if errors else Outcome.PASSED


def outcome_of_stages(stages: Iterable[StageResult]) -> Outcome:
    """The heaviest of the stages' outcomes; a run in which no stage passed or failed has not PASSED, but ERRORED."""
    seen = {stage.outcome for stage in stages}
    for outcome in (Outcome.CANCELLED, Outcome.ERRORED, Outcome.FAILED, Outcome.PASSED):
        if outcome in seen:
            return outcome
    return Outcome.ERRORED


def reason_of_stages(stages: Iterable[StageResult]) -> str:
    """The plain line of the first stage that did not pass; empty where all did."""
    for stage in stages:
        if stage.outcome in (Outcome.FAILED, Outcome.ERRORED, Outcome.CANCELLED):
            return f"{stage.stage}: {stage.reason}" if stage.reason else f"{stage.stage}: {stage.outcome}"
    return ""
