"""The exception tree. Whose fault comes first, the spelling follows.

AltsError
├── RequestError              the caller's: refused before anything is queued
│   ├── UnsupportedPlatform     422  nothing offers the distribution, version and architecture
│   ├── RepositoryDenied        422  a repository is at an address that nothing is fetched from
│   ├── UnknownTask             404  no task of that id
│   ├── UnknownArtifact         404  the attempt has no log or report of that name
│   ├── TaskFinished            409  too late to cancel
│   ├── KeyReused               409  an Idempotency-Key that stands for another request
│   ├── InvalidToken            401  the bearer token is missing, forged or expired
│   ├── MissingScope            403  the bearer token does not allow this
│   ├── NotTheirTask            403  only who asked for a task, or an admin, may cancel it
│   ├── TooManyRequests         429  the caller asks too often, or has too much in the queue
│   └── RequestTooLong          414  more path, or more headers (431), than anybody needs
├── ConfigurationError        the operator's: the process does not start
│   └── LedgerRefused           the ledger is lost, too old, another one, or damaged
├── AlreadyRunning            the operator's: another process has the ledger, or the port
├── StaleAttempt              nobody's: the lease has lapsed, somebody else owns the task now
└── InfrastructureError       ours: the task becomes ERRORED, never FAILED
    ├── ProvisionFailed         terraform or ansible did not give a machine
    ├── ImageUnavailable        the base image could be neither pulled nor bootstrapped
    ├── InstanceLost            the machine vanished in mid-run
    ├── StateUnreadable         the machine does not show what is on it
    ├── DiskFull                the machine has no room left
    ├── RepositoryUnreachable   a mirror or a repository did not answer
    ├── LedgerUnavailable       the scheduler did not answer
    │   ├── LedgerFull            its disk has no room for what is to be written
    │   └── LedgerDamaged         the database's file is damaged: no waiting helps
    ├── SchedulerBusy           the scheduler has as many large requests as it takes at once
    ├── BrokerUnavailable       the queue did not take a message
    │   └── UnknownQueue          the configuration has no such queue any more
    └── StorageUnavailable      S3 or the artifact folder did not answer

A package that does not work is no exception: it is a Finding, see alts.shared.models.report.
"""

from __future__ import annotations


class AltsError(Exception):
    """Every error of ours: a brief message, details (such as the tail of an output) and a way out.

    `retryable` says whether the same thing may work on another attempt.
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
    """The caller asked for something that cannot be had."""


class UnsupportedPlatform(RequestError):  # noqa: N818 - reads as what happened
    """No runner offers the distribution, version and architecture. `field` is the field to blame."""

    def __init__(self, message: str, *, resolution: str, field: str = "dist_name") -> None:
        super().__init__(message, resolution=resolution)
        self.field = field


class RepositoryDenied(RequestError):  # noqa: N818
    """A repository, or its key, is at an address that is denied. `field` says which, such as (0, "url")."""

    def __init__(self, message: str, *, field: tuple[int, str]) -> None:
        super().__init__(message)
        self.field = field


class UnknownTask(RequestError):  # noqa: N818
    """The ledger has no task of that id."""


class TaskFinished(RequestError):  # noqa: N818
    """The task has ended already: there is nothing left to cancel."""


class KeyReused(RequestError):  # noqa: N818
    """The caller's Idempotency-Key stands for another request already."""


class UnknownArtifact(RequestError):  # noqa: N818
    """The attempt has no log or report of that name."""


class InvalidToken(RequestError):  # noqa: N818
    """The bearer token is missing, malformed, forged or expired."""


class MissingScope(RequestError):  # noqa: N818
    """The bearer token is good, but does not allow what was asked."""

    def __init__(self, scope: str) -> None:
        super().__init__(f"the token lacks the scope {scope}", resolution="get a token that has it")
        self.scope = scope


class NotTheirTask(RequestError):  # noqa: N818
    """Somebody else has asked for the task."""


class TooManyRequests(RequestError):  # noqa: N818
    """The caller asks more often than they may, or waits for more tasks. `retry_after` is in seconds."""

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message, resolution=f"try again in {retry_after} s")
        self.retry_after = retry_after


class RequestTooLong(RequestError):  # noqa: N818
    """More path or headers than any client sends; `status` says which."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class ConfigurationError(AltsError):
    """A key of the configuration is unknown, of the wrong type, or too weak to run with."""

    def __init__(self, key: str, message: str, *, resolution: str = "") -> None:
        super().__init__(f"{key}: {message}", resolution=resolution)
        self.key = key


class LedgerRefused(ConfigurationError):  # noqa: N818
    """The ledger is not what this service left there; `resolution` says how to go on."""

    def __init__(self, message: str, *, resolution: str) -> None:
        AltsError.__init__(self, message, resolution=resolution)
        self.key = "database_url"


class AlreadyRunning(AltsError):  # noqa: N818
    """Another process uses the same ledger or port."""


class StaleAttempt(AltsError):  # noqa: N818
    """The attempt no longer owns the task: its lease lapsed, or the task is finished."""


class InfrastructureError(AltsError):
    """Something of ours failed, not the package."""

    default_retryable = True


class ProvisionFailed(InfrastructureError):  # noqa: N818
    """No instance could be made ready: terraform or ansible failed, or took too long."""


class ImageUnavailable(InfrastructureError):  # noqa: N818
    """The base image could be neither found, pulled nor bootstrapped."""


class InstanceLost(InfrastructureError):  # noqa: N818
    """The instance is gone, or does not answer, in the middle of a run."""


class StateUnreadable(InfrastructureError):  # noqa: N818
    """What is on the instance could not be read, although it is there."""


class DiskFull(InfrastructureError):  # noqa: N818
    """The instance, or the host behind it, has no room left."""


class RepositoryUnreachable(InfrastructureError):  # noqa: N818
    """A mirror or a repository did not answer, or answered with an error of its own."""


class LedgerUnavailable(InfrastructureError):  # noqa: N818
    """The scheduler could not be reached, or answered 5xx."""


class LedgerFull(LedgerUnavailable):
    """The ledger's disk has no room for what is to be written; reading still works."""


class LedgerDamaged(LedgerUnavailable):
    """The database says that its file is damaged."""


class SchedulerBusy(InfrastructureError):  # noqa: N818
    """The scheduler holds as many large bodies as it takes at once, and none was done in time."""


class BrokerUnavailable(InfrastructureError):  # noqa: N818
    """The queue could not be reached, or did not confirm a message."""


class UnknownQueue(BrokerUnavailable):
    """A task waits for a queue that the configuration does not offer (any more)."""


class StorageUnavailable(InfrastructureError):  # noqa: N818
    """An artifact could not be stored or read."""
