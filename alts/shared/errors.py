"""The exception tree, sorted by who is at fault.

AltsError
├── RequestError              the caller's: refused before a task is queued
│   ├── UnsupportedPlatform     422  nothing offers the distribution, version and architecture
│   ├── RepositoryDenied        422  a repository is at a denied address
│   ├── UnknownTask             404  no task has that id
│   ├── UnknownArtifact         404  the attempt has no log or report of that name
│   ├── TaskFinished            409  too late to cancel
│   ├── KeyReused               409  the Idempotency-Key belongs to another request
│   ├── InvalidToken            401  the bearer token is missing, forged or expired
│   ├── MissingScope            403  the bearer token does not allow this
│   ├── NotTheirTask            403  only a task's submitter or an admin may cancel it
│   ├── TooManyRequests         429  the caller sends too many requests, or has too many tasks
│   └── RequestTooLong          414  the path, or the headers (431), are too long
├── ConfigurationError        the operator's: the process does not start
│   └── LedgerRefused           the ledger is lost, too old, a different one, or damaged
├── AlreadyRunning            the operator's: another process uses the ledger or the port
├── StaleAttempt              nobody's: the lease has lapsed, and another attempt may own the task
└── InfrastructureError       the service's: the task becomes ERRORED, never FAILED
    ├── ProvisionFailed         terraform or ansible did not make a machine
    ├── ImageUnavailable        the base image could be neither pulled nor bootstrapped
    ├── InstanceLost            the machine vanished during a run
    ├── StateUnreadable         the machine's state could not be read
    ├── DiskFull                the machine's disk is full
    ├── RepositoryUnreachable   a mirror or a repository did not answer
    ├── LedgerUnavailable       the scheduler did not answer
    │   ├── LedgerFull            its disk is full
    │   └── LedgerDamaged         the database's file is damaged: retrying does not help
    ├── SchedulerBusy           the scheduler is at its limit of large requests
    ├── BrokerUnavailable       the broker did not accept a message
    │   └── UnknownQueue          the configuration does not have the queue (any more)
    └── StorageUnavailable      S3 or the artifact folder did not answer

A package that does not work is not an exception but a Finding (alts.shared.models.report).
"""

from __future__ import annotations


class AltsError(Exception):
    """Base of all errors: a brief message, details (e.g. the tail of a command's output), and how to resolve it.

    `retryable`: whether another attempt may succeed.
    """

    default_retryable = False

    def __init__(self, message: str, *, details: str = "", resolution: str = "", retryable: bool | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        self.resolution = resolution
        self.retryable = self.default_retryable if retryable is None else retryable

    def __str__(self) -> str:
        return f"{self.message} ({self.resolution})" if self.resolution else self.message


class RequestError(AltsError):
    """The request cannot be fulfilled."""


class UnsupportedPlatform(RequestError):  # noqa: N818 - reads as what happened
    """No runner offers the distribution, version and architecture. `field`: the TaskSpec field that is wrong."""

    def __init__(self, message: str, *, resolution: str, field: str = "dist_name") -> None:
        super().__init__(message, resolution=resolution)
        self.field = field


class RepositoryDenied(RequestError):  # noqa: N818
    """A repository or its key is at a denied address. `field`: index and field name, e.g. (0, "url")."""

    def __init__(self, message: str, *, field: tuple[int, str]) -> None:
        super().__init__(message)
        self.field = field


class UnknownTask(RequestError):  # noqa: N818
    """The ledger has no task with that id."""


class TaskFinished(RequestError):  # noqa: N818
    """The task has ended already and cannot be cancelled."""


class KeyReused(RequestError):  # noqa: N818
    """The caller has used this Idempotency-Key for another request."""


class UnknownArtifact(RequestError):  # noqa: N818
    """The attempt has no log or report of that name."""


class InvalidToken(RequestError):  # noqa: N818
    """The bearer token is missing, malformed, forged or expired."""


class MissingScope(RequestError):  # noqa: N818
    """The bearer token is valid, but lacks the scope for this request."""

    def __init__(self, scope: str) -> None:
        super().__init__(f"the token lacks the scope {scope}", resolution="get a token that has it")
        self.scope = scope


class NotTheirTask(RequestError):  # noqa: N818
    """The task was submitted by another caller."""


class TooManyRequests(RequestError):  # noqa: N818
    """The caller sends requests too often, or has too many unfinished tasks. `retry_after` is in seconds."""

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message, resolution=f"try again in {retry_after} s")
        self.retry_after = retry_after


class RequestTooLong(RequestError):  # noqa: N818
    """The path (`status` 414) or the headers (431) are longer than any client sends."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class ConfigurationError(AltsError):
    """A key of the configuration is unknown, of the wrong type, or too weak."""

    def __init__(self, key: str, message: str, *, resolution: str = "") -> None:
        super().__init__(f"{key}: {message}", resolution=resolution)
        self.key = key


class LedgerRefused(ConfigurationError):  # noqa: N818
    """The ledger is not the one that this service left there. `resolution` says how to go on."""

    def __init__(self, message: str, *, resolution: str) -> None:
        AltsError.__init__(self, message, resolution=resolution)
        self.key = "database_url"


class AlreadyRunning(AltsError):  # noqa: N818
    """Another process uses the same ledger or port."""


class StaleAttempt(AltsError):  # noqa: N818
    """The attempt no longer owns the task: its lease lapsed, or the task has ended."""


class InfrastructureError(AltsError):
    """Something of the service failed, not the package. Retryable by default."""

    default_retryable = True


class ProvisionFailed(InfrastructureError):  # noqa: N818
    """No instance could be prepared: terraform or ansible failed or took too long."""


class ImageUnavailable(InfrastructureError):  # noqa: N818
    """The base image could be neither found, pulled nor bootstrapped."""


class InstanceLost(InfrastructureError):  # noqa: N818
    """The instance is gone or does not answer during a run."""


class StateUnreadable(InfrastructureError):  # noqa: N818
    """The instance exists, but its state could not be read."""


class DiskFull(InfrastructureError):  # noqa: N818
    """The disk of the instance, or of its host, is full."""


class RepositoryUnreachable(InfrastructureError):  # noqa: N818
    """A mirror or a repository did not answer, or answered with a server error."""


class LedgerUnavailable(InfrastructureError):  # noqa: N818
    """The scheduler could not be reached, or answered 5xx."""


class LedgerFull(LedgerUnavailable):
    """The ledger's disk is full. Reading still works."""


class LedgerDamaged(LedgerUnavailable):
    """The database reports that its file is damaged."""


class SchedulerBusy(InfrastructureError):  # noqa: N818
    """The scheduler is at its limit of large request bodies, and none was finished in time."""


class BrokerUnavailable(InfrastructureError):  # noqa: N818
    """The broker could not be reached, or did not confirm a message."""


class UnknownQueue(BrokerUnavailable):
    """A task's queue is not in the configuration (any more)."""


class StorageUnavailable(InfrastructureError):  # noqa: N818
    """An artifact could not be stored or read."""
