"""A Ledger that calls the scheduler's worker API over HTTP."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from pydantic import SecretStr, TypeAdapter

from alts.client.answers import detail_of
from alts.shared.auth.tokens import WORKER_KEY_ID, Scope, issue_token
from alts.shared.errors import ConfigurationError, LedgerUnavailable, StaleAttempt
from alts.shared.models.ledger import Assignment
from alts.shared.models.report import REPORT, Outcome, Report, StageResult

log = logging.getLogger(__name__)

TokenSource = Callable[[datetime], str]
"""Returns a bearer token valid at that time."""

Value = TypeVar("Value")

REQUEST_SECONDS = 10.0
TOKEN_LIFETIME = timedelta(minutes=5)
# A Date header has whole seconds, and is as old as the response.
SMALLEST_SKEW = timedelta(seconds=5)

# Most attempts that the scheduler accepts in one request.
ATTEMPTS_AT_ONCE = 1000

# uvicorn closes a connection that was idle for 5 s. A request on a connection that closes just then fails, so this side
# gives up idle connections first.
_LIMITS = httpx.Limits(keepalive_expiry=2.0)
_ASSIGNMENT: TypeAdapter[Assignment | None] = TypeAdapter(Assignment | None)
_OUTCOME: TypeAdapter[Outcome | None] = TypeAdapter(Outcome | None)
_ATTEMPTS: TypeAdapter[list[tuple[str, int]]] = TypeAdapter(list[tuple[str, int]])
_STAGES: TypeAdapter[tuple[StageResult, ...]] = TypeAdapter(tuple[StageResult, ...])


def worker_tokens(secret: SecretStr, *, algorithm: str, worker: str) -> TokenSource:
    """Return a source of tokens for the worker API alone, valid for TOKEN_LIFETIME. `worker` becomes their email."""

    def token(now: datetime) -> str:
        return issue_token(
            secret,
            algorithm=algorithm,
            email=worker,
            lifetime=TOKEN_LIFETIME,
            scopes=[Scope.WORKER],
            kid=WORKER_KEY_ID,
            now=now,
        )

    return token


class HttpLedger:
    """Implements alts.shared.models.ledger.Ledger over HTTP. Any thread may call it.

    Network errors, 5xx responses and refused tokens are all LedgerUnavailable. Tokens follow the scheduler's clock: if
    it refuses one, the response's `Date` tells the difference to the local clock.
    """

    def __init__(
        self,
        url: str,
        token: TokenSource,
        *,
        request_seconds: float = REQUEST_SECONDS,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Send nothing yet. Raises ConfigurationError if `url` is not an http or https URL."""
        self._token = token
        self._now = now
        self._skew = timedelta()
        try:
            address = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise ConfigurationError("scheduler_url", f"is not a URL: {error}") from error
        if address.scheme not in ("http", "https") or not address.host:
            raise ConfigurationError("scheduler_url", "is not a URL", resolution="use a URL like http://scheduler:8000")
        self._client = httpx.Client(base_url=address, timeout=request_seconds, limits=_LIMITS)

    def claim(self, task_id: str, *, worker: str, key: str = "") -> Assignment | None:
        """POST /worker/tasks/<id>/claim."""
        answer = self._post_task(task_id, "claim", {"worker": worker, "key": key})
        return _read(answer, "assignment", _ASSIGNMENT)

    def decline(self, task_id: str, *, worker: str, reason: str) -> None:
        """POST /worker/tasks/<id>/decline. `reason` is cut to 1000 characters."""
        self._post_task(task_id, "decline", {"worker": worker, "reason": reason[:1000]})

    def heartbeat(self, task_id: str, attempt: int, *, progress: tuple[StageResult, ...] = ()) -> bool:
        """POST /worker/tasks/<id>/attempts/<attempt>/heartbeat."""
        stages = _STAGES.dump_python(progress, mode="json")
        answer = self._post_task(task_id, f"attempts/{attempt}/heartbeat", {"progress": stages})
        return _read(answer, "cancel", TypeAdapter(bool))

    def report(self, task_id: str, attempt: int, report: Report) -> Outcome | None:
        """POST /worker/tasks/<id>/attempts/<attempt>/report."""
        answer = self._post_task(task_id, f"attempts/{attempt}/report", REPORT.dump_python(report, mode="json"))
        return _read(answer, "outcome", _OUTCOME)

    def release(self, task_id: str, attempt: int, *, reason: str) -> None:
        """POST /worker/tasks/<id>/attempts/<attempt>/release. `reason` is cut to 1000 characters."""
        self._post_task(task_id, f"attempts/{attempt}/release", {"reason": reason[:1000]})

    def announce(
        self, worker: str, *, ready: bool, reason: str = "", queues: Sequence[str] = (), free: int | None = None
    ) -> None:
        """POST /worker/presence. `reason` is cut to 1000 characters."""
        body = {"worker": worker, "ready": ready, "reason": reason[:1000], "queues": list(queues)}
        # An unknown value is left out, for older schedulers that do not know the field.
        self._post("/worker/presence", body if free is None else {**body, "free": free})

    def over(self, attempts: Sequence[tuple[str, int]]) -> set[tuple[str, int]]:
        """POST /worker/attempts/over, in batches of ATTEMPTS_AT_ONCE."""
        # Ids come from labels that any program may have written. The scheduler would refuse the whole request for an
        # impossible one.
        asked = [[task_id, attempt] for task_id, attempt in attempts if task_id.isascii() and len(task_id) <= 100]
        found: set[tuple[str, int]] = set()
        for start in range(0, len(asked), ATTEMPTS_AT_ONCE):
            answer = self._post("/worker/attempts/over", {"attempts": asked[start : start + ATTEMPTS_AT_ONCE]})
            over: list[tuple[str, int]] = _read(answer, "attempts", _ATTEMPTS)
            found.update(over)
        return found

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _post_task(self, task_id: str, action: str, body: Any) -> httpx.Response:
        # The id came in a message. Quoted, it stays one segment of the path.
        return self._post(f"/worker/tasks/{quote(task_id, safe='')}/{action}", body)

    def _post(self, path: str, body: Any) -> httpx.Response:
        answer = self._send(path, body)
        if answer.status_code == httpx.codes.UNAUTHORIZED and self._learn_skew(answer):
            answer = self._send(path, body)
        if answer.is_success:
            return answer
        if answer.status_code == httpx.codes.CONFLICT:
            raise StaleAttempt(detail_of(answer))
        if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise LedgerUnavailable(
                f"the scheduler refuses this worker's token: {detail_of(answer)}",
                resolution="give both sides the same worker_secret or jwt_secret, and jwt_algorithm",
            )
        # Other 4xx mean that the two sides have different versions: a retry does not help.
        raise LedgerUnavailable(
            f"the scheduler answered {answer.status_code}: {detail_of(answer)}", retryable=answer.is_server_error
        )

    def _send(self, path: str, body: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._token(self._now() + self._skew)}"}
        try:
            return self._client.post(path, json=body, headers=headers)
        except httpx.HTTPError as error:
            raise LedgerUnavailable(f"the scheduler does not answer: {error or type(error).__name__}") from error

    def _learn_skew(self, answer: httpx.Response) -> bool:
        """Adopt the scheduler's time from the Date header (RFC 9110 6.6.1). Returns whether it differs from ours."""
        try:
            skew = parsedate_to_datetime(answer.headers["Date"]) - self._now()
        except (KeyError, ValueError, TypeError):  # TypeError: a date without a zone
            return False
        if abs(skew - self._skew) < SMALLEST_SKEW:
            return False
        log.warning("the scheduler's clock differs from ours", extra={"seconds": round(skew.total_seconds())})
        self._skew = skew
        return True


def _read(answer: httpx.Response, key: str, kind: TypeAdapter[Value]) -> Value:
    try:
        return kind.validate_python(answer.json()[key])
    except (ValueError, KeyError, TypeError) as error:  # pydantic's ValidationError is a ValueError
        raise LedgerUnavailable("the response is not from a scheduler of this version", retryable=False) from error
