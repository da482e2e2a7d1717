"""Dependencies of the routes: built once by the application, given to each request by FastAPI's Depends."""

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
    """The parts of a scheduler that the API uses; scheduler.composition builds them."""

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
        """Start the background threads."""

    def close(self) -> None:
        """End the background threads and close all connections."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Objects that all requests share."""

    services: Services
    intake: Intake
    rate_limit: RateLimit
    caller_bodies: BodyReader
    worker_bodies: BodyReader
    """A reader of its own, so that workers' bodies don't wait for callers'."""
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
    """Return the parts of the request's application."""
    parts: Parts = request.app.state.parts
    return parts


async def _parts(request: Request) -> Parts:
    # async, because FastAPI runs a sync dependency in a thread.
    return parts_of(request)


PartsDep = Annotated[Parts, Depends(_parts)]
