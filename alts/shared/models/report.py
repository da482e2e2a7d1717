"""Reports: findings belong to stage results, stage results to a report with one outcome."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import TypeAdapter

from alts.shared.bounds import MOST_VALUES, AtMost


class Outcome(StrEnum):
    """Result of a stage, an attempt or a task."""

    PASSED = "passed"
    FAILED = "failed"
    """By the package's fault."""
    ERRORED = "errored"
    """By the service's fault: says nothing about the package."""
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    """For stages only: the stage did not run. Its `reason` says why."""


class Severity(StrEnum):
    """Weight of a finding. Only errors decide the outcome."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Kind(StrEnum):
    """Subject of a finding, the same for all package formats."""

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
        """Whether it is the service's fault: such a finding makes ERRORED, never FAILED."""
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


# Characters. Packages control file names and output, and a report must stay readable.
_LONGEST_MESSAGE = 1000
_LONGEST_EVIDENCE = 4000
_LONGEST_STEP = 160

MOST_STAGES = 100
"""Most stages of one attempt. The longest plan has a seventh of that."""
MOST_STEPS = 200
"""Most steps of one stage that are recorded. A stage with all its batches has a tenth of that."""
# The size of a whole report is limited too (alts.worker.report_size).
_Lines = Annotated[tuple[str, ...], AtMost(MOST_VALUES)]
_Words = Annotated[Mapping[str, str], AtMost(100)]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One checked fact. `message` is a sentence, `evidence` the line of output or the path that proves it.

    Both are shortened in the middle, to 1000 and 4000 characters.
    """

    kind: Kind
    message: str
    severity: Severity = Severity.ERROR
    evidence: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", shortened(self.message, _LONGEST_MESSAGE))
        object.__setattr__(self, "evidence", shortened(self.evidence, _LONGEST_EVIDENCE))


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command of a stage, or the making of its machine. The name is shortened in the middle to 160 characters."""

    name: str
    """E.g. "apt-get --quiet update"."""
    at: float
    """Seconds from the beginning of the stage."""
    seconds: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", shortened(self.name, _LONGEST_STEP))


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """Result of one stage."""

    stage: str
    outcome: Outcome
    seconds: float = 0.0
    exit_code: int | None = None
    """The exit code of the stage's last command; None if no command ended."""
    findings: Annotated[tuple[Finding, ...], AtMost(MOST_VALUES)] = ()
    reason: str = ""
    """One line: why the stage was skipped, cancelled, or did not pass."""
    log: str | None = None
    """Address of the log, file:// or s3://."""
    steps: Annotated[tuple[Step, ...], AtMost(MOST_STEPS)] = ()
    """What the stage spent its time on, in order. Empty in a report that was too large."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """Differences of one kind. Sorted lines, e.g. "/usr/share/locale/ (45 files)"."""

    added: _Lines = ()
    changed: _Lines = ()
    removed: _Lines = ()


@dataclass(frozen=True, kw_only=True)
class StateChange:
    """Difference of the machine between two moments of a run. Shortened in a report, whole in state.json."""

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
    """End of an attempt, with an outcome or without one."""

    PASSED = "passed"
    FAILED = "failed"
    ERRORED = "errored"
    CANCELLED = "cancelled"
    LOST = "lost"
    """Its worker stopped answering."""
    RELEASED = "released"
    """Its worker handed the task back unfinished. It does not count against max_attempts."""


@dataclass(frozen=True, kw_only=True)
class AttemptSummary:
    """Result of one attempt, in brief."""

    attempt: int
    worker: str
    outcome: Ending
    reason: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    artifacts: str | None = None
    """Address of the folder with its report.json and logs; None if its worker did not report one."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """Verdict of one attempt, with its evidence."""

    task_id: str
    attempt: int
    outcome: Outcome
    reason: str
    """One line: why this outcome."""
    retryable: bool = False
    """Whether another attempt may end otherwise. Only with ERRORED."""
    stages: Annotated[tuple[StageResult, ...], AtMost(MOST_STAGES)] = ()
    platform: str = ""
    """E.g. "debian-12 on x86_64"."""
    package: _Words = field(default_factory=dict)
    """The installed package: name, version, architecture, origin, and as proof repository, file, sha256."""
    closure: _Lines = ()
    """All packages that the installation has added, including itself, e.g. "hello 2.10-3"; sorted."""
    state: Annotated[tuple[StateChange, ...], AtMost(MOST_STAGES)] = ()
    """Changes of the machine, in order of time."""
    indexes: _Words = field(default_factory=dict)
    """When package lists were fetched: "distribution", or the address of a repository of the task → time in UTC."""
    image: _Words = field(default_factory=dict)
    """The machine's image: reference, id, origin ("pulled", "bootstrapped", "local")."""
    tools: _Words = field(default_factory=dict)
    """Versions of the tools that ran: terraform, ansible, docker, the package manager."""
    worker: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    artifacts: str | None = None
    """Address of the folder with report.json and the logs, file:// or s3://."""
    attempts: Annotated[tuple[AttemptSummary, ...], AtMost(1000)] = ()
    """The previous attempts, oldest first. All attempts if the scheduler wrote the report."""

    def to_json(self) -> str:
        """Return the content of report.json."""
        return REPORT.dump_json(self, indent=2).decode()


REPORT: TypeAdapter[Report] = TypeAdapter(Report)
"""Converts reports from and to JSON: on disk, in the ledger and over HTTP."""

STATE: TypeAdapter[tuple[StateChange, ...]] = TypeAdapter(tuple[StateChange, ...])
"""Converts the content of state.json."""


def shortened(text: str, limit: int) -> str:
    """Return at most `limit` characters. A longer text keeps its beginning and its end."""
    if len(text) <= limit:
        return text
    left_out = " [...] "
    half = (limit - len(left_out)) // 2
    return f"{text[:half]}{left_out}{text[-half:]}"


def outcome_of_findings(findings: Iterable[Finding]) -> Outcome:
    """Return ERRORED, FAILED or PASSED. A verdict from a broken machine does not count."""
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if any(finding.kind.ours for finding in errors):
        return Outcome.ERRORED
    return Outcome.FAILED if errors else Outcome.PASSED


def outcome_of_stages(stages: Iterable[StageResult]) -> Outcome:
    """Return the most severe outcome. A run in which no stage passed or failed is ERRORED, not PASSED."""
    seen = {stage.outcome for stage in stages}
    for outcome in (Outcome.CANCELLED, Outcome.ERRORED, Outcome.FAILED, Outcome.PASSED):
        if outcome in seen:
            return outcome
    return Outcome.ERRORED


def reason_of_stages(stages: Iterable[StageResult]) -> str:
    """Return the reason of the first stage that did not pass, with its name; empty if all passed."""
    for stage in stages:
        if stage.outcome in (Outcome.FAILED, Outcome.ERRORED, Outcome.CANCELLED):
            return f"{stage.stage}: {stage.reason}" if stage.reason else f"{stage.stage}: {stage.outcome}"
    return ""
