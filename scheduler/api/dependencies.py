"""What the routes work with: the application makes it once, FastAPI's Depends hands it to each request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Protocol

from fastapi import Depends, Path, Request

from alts.shared.clock import SteadyClock
from alts.shared.config import Config
from alts.shared.storage.base import ArtifactStore
from scheduler.admission.intake import Intake
from scheduler.admission.rate_limit import RateLimit
from scheduler.api.body_reader import BodyReader
from scheduler.api.threads import Threads
from scheduler.ledger.attempts import Attempts
from scheduler.ledger.disk_space import Room
from scheduler.ledger.ledger import SqlLedger
from scheduler.ledger.tasks import Tasks
from scheduler.monitoring.health import Health

AttemptNumber = Annotated[int, Path(ge=1, le=2**31 - 1)]


class Services(Protocol):
    """What the API needs of a scheduler; scheduler.composition builds it."""

    @property
    def config(self) -> Config: ...

    @property
    def ledger(self) -> SqlLedger: ...

    @property
    def storage(self) -> ArtifactStore: ...

    @property
    def health(self) -> Health: ...

    @property
    def clock(self) -> SteadyClock: ...

    @property
    def room(self) -> Room: ...

    def start(self) -> None:
        """Start the threads that run beside the API."""

    def close(self) -> None:
        """End them, and give everything back."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What all requests share."""

    services: Services
    intake: Intake
    rate_limit: RateLimit
    caller_bodies: BodyReader
    worker_bodies: BodyReader
    """Workers' bodies do not queue behind callers'."""
    worker_threads: Threads
    artifact_threads: Threads
    health_threads: Threads

    @property
    def tasks(self) -> Tasks:
        """The callers' side of the ledger."""
        return self.services.ledger.tasks

    @property
    def attempts(self) -> Attempts:
        """The workers' side of the ledger."""
        return self.services.ledger.attempts


def parts_of(request: Request) -> Parts:
    """The parts of the application that the request was sent to."""
    parts: Parts = request.app.state.parts
    return parts


async def _parts(request: Request) -> Parts:
    # async: FastAPI runs a sync dependency in a thread.
    return parts_of(request)


PartsDep = Annotated[Parts, Depends(_parts)]
