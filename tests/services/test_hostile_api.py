"""Thousands of hostile requests against the API, with a real ledger. Every answer is as documented."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.testclient import TestClient

from alts.shared.auth.tokens import Scope
from alts.shared.models.report import Outcome
from scheduler.api.application import create_app
from tests.support.builders import a_report, a_spec
from tests.support.scheduler_parts import QUEUE, HandClock, a_ledger, bearer, some_services
from tests.unit.scheduler.api.test_scopes import NEEDED

pytestmark = pytest.mark.fuzz

# Cases per operation. For a longer run: ALTS_FUZZ_CASES=5000 make test ARGS='tests/services/test_hostile_api.py'
BRIEF = int(os.environ.get("ALTS_FUZZ_CASES", "15"))
LONG = 250
CASES = pytest.mark.parametrize("cases", [BRIEF, pytest.param(LONG, marks=pytest.mark.long)])
CHECKS = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
WITH_TUPLES = ("/worker/attempts/over",)
EASY = settings(
    deadline=None,
    derandomize="ALTS_FUZZ_CASES" not in os.environ,
    suppress_health_check=list(HealthCheck),
    database=None,
)
# The lifetime exceeds the longest run, because a refused token would hide all other answers.
EVERYBODY = bearer(*Scope, lifetime=timedelta(days=1))
JSON = {"Content-Type": "application/json"}


@dataclass
class Target:
    """The application, and the ids of tasks in every state."""

    app: Any
    client: TestClient
    task_ids: list[str]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("hostile")
    ledger = a_ledger(folder, HandClock())
    services = some_services(folder, ledger, caller_requests_per_minute=0)
    task_ids = [ledger.tasks.add(a_spec(), queue=QUEUE, submitted_by="me@example.org") for _ in range(40)]
    for task_id in task_ids[10:]:
        ledger.attempts.claim(task_id, worker="worker-1")
    for task_id in task_ids[30:]:
        ledger.attempts.report(task_id, 1, a_report(task_id=task_id, outcome=Outcome.FAILED))
        services.storage.put(f"artifacts/{task_id}/1/install.log", b"hello\n")
    app = create_app(services)
    yield Target(app, TestClient(app), task_ids)
    services.close()


@pytest.fixture(scope="module")
def described(target: Target) -> Any:
    async def without_lifespan(scope: Any, receive: Any, send: Any) -> None:
        """Skip the lifespan: schemathesis runs it for every request, and relay and reconciler are not needed."""
        if scope["type"] == "http":
            await target.app(scope, receive, send)
            return
        for kind in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{kind}.complete"})

    schema = schemathesis.openapi.from_asgi("/openapi.json", without_lifespan)

    @schema.hook
    def map_path_parameters(_context: Any, path_parameters: Any) -> Any:
        """Replace half of the ids by those of existing tasks. The generated id decides which half it is in."""
        if path_parameters and isinstance(task_id := path_parameters.get("task_id"), str) and len(task_id) % 2:
            return {**path_parameters, "task_id": target.task_ids[len(task_id) // 2 % len(target.task_ids)]}
        return path_parameters

    return schema


@CASES
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), NEEDED, ids=str)
def test_every_answer_is_as_documented(
    described: Any, method: str, path: str, mode: GenerationMode, cases: int
) -> None:
    if (path, mode) == ("/health", GenerationMode.NEGATIVE):
        return  # it has no input that could be wrong
    requests = described[path][method].as_strategy(generation_mode=mode)
    # schemathesis 4.32 converts a tuple's "prefixItems" to "items" with a list, and then refuses its own schema.
    checks = [check for check in CHECKS if check is not response_schema_conformance or path not in WITH_TUPLES]

    @settings(EASY, max_examples=cases)
    @given(case=requests)
    def ask(case: Any) -> None:
        answer = case.call_and_validate(headers=EVERYBODY, checks=checks)
        # schemathesis sometimes omits our token or sends its own. 401 is then the only valid answer.
        ours = answer.request.headers.get("Authorization") == EVERYBODY["Authorization"]
        assert (answer.status_code == 401) is (not ours and path != "/health")

    ask()


# Requests outside the schema.

words = st.text(max_size=40) | st.sampled_from(
    ["\0", "\r\n", "../..", "%00", "hello", "a" * 5000, "'; DROP TABLE tasks; --"]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)
GOOD: dict[str, Any] = {
    "runner_type": "docker",
    "dist_name": "debian",
    "dist_version": "12",
    "dist_arch": "x86_64",
    "repositories": [{"url": "http://deb.debian.org/debian bookworm main", "name": "x", "priority": 500}],
    "package_name": "hello",
    "package_version": "1",
    "plan": "full",
}
repositories = st.lists(
    st.dictionaries(st.sampled_from(["url", "name", "trusted", "gpg_key", "priority", "x"]), json_values, max_size=5)
    | st.builds(lambda url: {"url": url}, words | st.builds("http://{}".format, words)),
    max_size=30,
)
nearly_good = st.dictionaries(st.sampled_from(list(GOOD)), json_values | repositories, max_size=3).map(
    lambda changes: {**GOOD, **changes}
)


HEADERS = [
    (b"content-type", b"application/json"),
    (b"content-type", b"text/plain"),
    (b"content-type", b"multipart/form-data; boundary=x"),
    (b"content-type", b"a/b; charset=\xff"),
    (b"content-type", b"application/x+json; charset=utf-16"),
    (b"content-encoding", b"gzip"),
    (b"transfer-encoding", b"chunked"),
    (b"content-length", b"1" * 30),
    (b"expect", b"100-continue"),
    (b"range", b"bytes=0-"),
    (b"x-http-method-override", b"DELETE"),
    (b"host", b"\xff"),
]


def check(answer: Any) -> None:
    """Check that the answer is neither a 5xx nor a 401, and that a JSON body parses."""
    assert answer.status_code < 500, answer.text
    assert answer.status_code != 401
    if answer.content and answer.headers.get("content-type") == "application/json":
        json.loads(answer.content)


@CASES
def test_a_request_that_is_nearly_good_is_taken_or_refused(target: Target, cases: int) -> None:
    @settings(EASY, max_examples=cases * 5)
    @given(body=nearly_good)
    def ask(body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()

        answer = target.client.post("/tasks/schedule", content=content, headers={**EVERYBODY, **JSON})

        check(answer)
        assert answer.status_code in (201, 422)
        if answer.status_code == 201:
            assert target.client.get(f"/tasks/{answer.json()['task_id']}", headers=EVERYBODY).status_code == 200

    ask()


worker_bodies = st.dictionaries(
    st.sampled_from(["worker", "key", "progress", "reason", "task_id", "attempt", "outcome", "stages", "package"]),
    json_values,
    max_size=6,
)


@CASES
def test_a_worker_that_has_lost_its_mind_breaks_nothing(target: Target, cases: int) -> None:
    @settings(EASY, max_examples=cases * 3)
    @given(
        number=st.integers(0, 39),
        action=st.sampled_from(["claim", "attempts/1/heartbeat", "attempts/1/report", "attempts/1/release"]),
        body=worker_bodies,
    )
    def ask(number: int, action: str, body: dict[str, Any]) -> None:
        path = f"/worker/tasks/{target.task_ids[number]}/{action}"

        check(target.client.post(path, content=json.dumps(body).encode(), headers={**EVERYBODY, **JSON}))

    ask()


methods = st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "BREW"])
paths = st.sampled_from(
    ["/tasks/schedule", "/tasks/{}", "/tasks/{}/cancel", "/tasks/{}/result", "/worker/tasks/{}/claim"]
) | st.lists(words, max_size=4).map(lambda parts: "/" + "/".join(parts))
contents = st.binary(max_size=200) | nearly_good.map(lambda body: json.dumps(body).encode())


@CASES
def test_no_method_path_and_content_break_the_service(target: Target, cases: int) -> None:
    @settings(EASY, max_examples=cases * 3)
    @given(method=methods, path=paths, content=contents, headers=st.lists(st.sampled_from(HEADERS), max_size=3))
    def ask(method: str, path: str, content: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        url = "http://testserver/" + "/".join(
            _quoted(part) for part in path.replace("{}", target.task_ids[0])[1:].split("/")
        )
        token = b"authorization", EVERYBODY["Authorization"].encode()

        check(target.client.request(method, url, content=content, headers=[*headers, token], follow_redirects=False))

    ask()


def _quoted(part: str) -> str:
    return "".join(f"%{byte:02x}" for byte in part.encode("utf-8", "replace"))
