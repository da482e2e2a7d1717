"""The route for the health of the service's parts."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from alts.shared.auth.tokens import Caller
from scheduler.api.dependencies import PartsDep
from scheduler.api.models import HealthAnswer, health_answer

router = APIRouter(tags=["service"])


@router.get(
    "/health", response_model=HealthAnswer, responses={503: {"model": HealthAnswer, "description": "No ledger"}}
)
async def health(request: Request, parts: PartsDep) -> JSONResponse:
    """Say which parts of the service work. No token is needed; with a valid one, `detail` says what is wrong."""
    found = await parts.health_threads.run(parts.services.health.ask)
    caller: Caller | None = request.state.caller
    content = health_answer(found, with_details=caller is not None and bool(caller.scopes))
    return JSONResponse(content, 503 if content["status"] == "down" else 200)
