"""The route for an attempt's artifacts: logs and reports."""

from __future__ import annotations

import re

from fastapi import APIRouter, Response
from fastapi.concurrency import run_in_threadpool

from alts.shared.errors import StorageUnavailable, UnknownArtifact
from alts.shared.storage.base import artifact_key
from scheduler.api.auth import Reader
from scheduler.api.dependencies import AttemptNumber, PartsDep
from scheduler.api.errors import responses
from scheduler.api.strict_route import StrictRoute
from scheduler.api.threads import AllBusyError

_ARTIFACT_NAME = re.compile(r"(?=.{1,100}\Z)[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+")

router = APIRouter(prefix="/tasks", tags=["tasks"], route_class=StrictRoute)


@router.get("/{task_id}/artifacts/{attempt}/{name}", response_class=Response, responses=responses(404))
async def artifact(task_id: str, attempt: AttemptNumber, name: str, _caller: Reader, parts: PartsDep) -> Response:
    """Download a log or a report of an attempt, for example `install.log` or `report.json`."""
    await run_in_threadpool(parts.tasks.get, task_id)
    key = artifact_key(parts.services.config.artifacts_root_directory, task_id, attempt, name)
    try:
        # The pattern allows neither a slash nor "..", so the key cannot leave the attempt's folder.
        content = (
            await parts.artifact_threads.run(parts.services.storage.get, key)
            if _ARTIFACT_NAME.fullmatch(name)
            else None
        )
    except KeyError:
        content = None
    except AllBusyError as error:
        raise StorageUnavailable("the storage is slow, and other requests wait for it already") from error
    if content is None:
        raise UnknownArtifact(f"attempt {attempt} of the task has no artifact {name[:100]}")
    kind = "application/json" if name.endswith(".json") else "text/plain; charset=utf-8"
    # A package's output must never run as a script in a browser.
    return Response(content, media_type=kind, headers={"X-Content-Type-Options": "nosniff"})
