"""The REST API as a caller sees it."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from alts.shared.auth.tokens import Scope
from alts.shared.errors import BrokerUnavailable, LedgerUnavailable
from alts.shared.models.ledger import TaskState
from alts.shared.models.report import Outcome
from alts.shared.storage.base import ArtifactStore
from scheduler.api.application import create_app
from scheduler.ledger.disk_space import Room
from scheduler.ledger.ledger import SqlLedger
from scheduler.ledger.retry_policy import LedgerRules
from scheduler.ledger.tasks import Tasks
from scheduler.monitoring.health import Health
from tests.support.builders import TASK_ID, a_report, a_spec
from tests.support.scheduler_parts import QUEUE, HandClock, a_database, a_ledger, bearer, some_services

REQUEST: dict[str, Any] = {
    "runner_type": "docker",
    "dist_name": "debian",
    "dist_version": "12",
    "dist_arch": "x86_64",
    "repositories": [],
    "package_name": "hello",
}
ME = "me@example.org"
JSON = {"Content-Type": "application/json"}


@dataclass
class Service:
    """A client of the API, and the ledger behind it."""

    client: TestClient
    ledger: SqlLedger
    clock: HandClock
    storage: ArtifactStore

    def schedule(self, **changes: Any) -> Any:
        return self.client.post("/tasks/schedule", json={**REQUEST, **changes}, headers=bearer())

    def scheduled(self, **changes: Any) -> str:
        task_id: str = self.schedule(**changes).json()["task_id"]
        return task_id

    def get(self, path: str) -> Any:
        return self.client.get(path, headers=bearer())

    def state_of(self, task_id: str) -> str:
        state: str = self.get(f"/tasks/{task_id}/result").json()["state"]
        return state


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    clock = HandClock()
    ledger = a_ledger(tmp_path, clock)
    services = some_services(tmp_path, ledger)
    with TestClient(create_app(services), raise_server_exceptions=False) as client:
        yield Service(client, ledger, clock, services.storage)


def test_a_scheduled_task_is_in_the_ledger_under_the_callers_name(service: Service) -> None:
    answer = service.client.post("/tasks/schedule", json=REQUEST, headers=bearer(email="you@example.org"))

    assert answer.status_code == 201
    body = answer.json()
    assert body == {"success": True, "task_id": body["task_id"]}
    row = service.ledger.tasks.get(body["task_id"])
    assert (row.queue, row.submitted_by) == ("docker-x86_64-0", "you@example.org")
    assert row.spec.package_name == "hello"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"dist_name": "plan9"}, ["dist_name"]),
        ({"dist_version": "9"}, ["dist_version"]),
        ({"dist_arch": "sparc"}, ["dist_arch"]),
        ({"dist_arch": "arm64"}, ["dist_arch"]),
        ({"runner_type": "vagrant"}, ["runner_type"]),
        ({"package_name": "a;b"}, ["package_name"]),
        ({"package_version": "$(id)"}, ["package_version"]),
        ({"repositories": [{"url": "file:///etc"}]}, ["repositories", 0, "url"]),
        ({"surprise": 1}, ["surprise"]),
    ],
    ids=str,
)
def test_bad_input_names_the_field_and_what_is_accepted(
    service: Service, changes: dict[str, Any], field: list[Any]
) -> None:
    answer = service.schedule(**changes)

    assert answer.status_code == 422
    [error] = answer.json()["detail"]
    assert error["loc"] == ["body", *field]
    assert error["msg"]


def test_a_platform_that_nobody_offers_is_answered_with_those_that_are(service: Service) -> None:
    [error] = service.schedule(dist_arch="arm64").json()["detail"]

    assert error["type"] == "unsupported_platform"
    assert "debian-12 on x86_64" in error["msg"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b"1",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b'{"dist_name": "\xff"}',
        b'{"dist_version": NaN, "package_name": Infinity, "dist_name": -Infinity}',
        b'{"dist_name": "\\ud800", "package_name": "\\ud800", "dist_arch": "\\udfff"}',
        b'{"\\ud800": 1}',
        b'{"dist_version": 1e400}',
        b'{"dist_version": ' + b"9" * 5000 + b"}",
        b'{"dist_version": ' + b"9" * 400 + b"}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"dist_name": "debian", "repositories": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
    ids=lambda body: body[:30].decode("latin-1") + str(len(body)),
)
def test_a_broken_body_is_the_callers_fault(service: Service, body: bytes) -> None:
    answer = service.client.post("/tasks/schedule", content=body, headers={**bearer(), **JSON})

    assert 400 <= answer.status_code < 500
    assert json.loads(answer.content)["detail"]


def test_the_answer_to_a_thousand_mistakes_is_short(service: Service) -> None:
    surprises = {f"{number:03}{'x' * 900}": "y" * 900 for number in range(500)}

    answer = service.schedule(**surprises)

    assert answer.status_code == 422
    assert len(answer.content) < 20_000


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_refused(service: Service, *, chunked: bool) -> None:
    body = b" " * (1 << 20) + b"{}"
    content: Any = iter([body[:1000], body[1000:]]) if chunked else body

    answer = service.client.post("/tasks/schedule", content=content, headers={**bearer(), **JSON})

    assert answer.status_code == 413
    assert "1048576" in answer.json()["detail"]


def test_no_token_gets_nothing_and_is_told_which_kind_is_wanted(service: Service) -> None:
    for method, path in [
        ("POST", "/tasks/schedule"),
        ("GET", f"/tasks/{TASK_ID}"),
        ("GET", f"/tasks/{TASK_ID}/result"),
    ]:
        answer = service.client.request(method, path)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("header", ["Bearer x", "Bearer a.b.c", "Bearer ", "Basic YTpi", "x", "Bearer \xff"])
def test_a_token_that_is_none_is_refused(service: Service, header: str) -> None:
    headers = [(b"authorization", header.encode("latin-1"))]

    answer = service.client.get(f"/tasks/{TASK_ID}", headers=headers)

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_an_expired_token_is_refused_and_says_so(service: Service) -> None:
    answer = service.client.get(f"/tasks/{TASK_ID}", headers=bearer(lifetime=timedelta(minutes=-1)))

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    assert "expired" in answer.json()["detail"]


def test_a_token_without_the_scope_is_forbidden(service: Service) -> None:
    task_id = service.scheduled()
    requests = [
        ("POST", "/tasks/schedule", Scope.READ),
        ("POST", f"/tasks/{task_id}/cancel", Scope.READ),
        ("GET", f"/tasks/{task_id}", Scope.WRITE),
        ("GET", f"/tasks/{task_id}/result", Scope.WORKER),
    ]
    for method, path, scope in requests:
        answer = service.client.request(method, path, headers=bearer(scope), json=REQUEST if method == "POST" else None)
        assert answer.status_code == 403, path
        assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]


def test_logs_and_reports_are_handed_out(service: Service) -> None:
    task_id = service.scheduled()
    service.storage.put(f"artifacts/{task_id}/1/install.log", "läuft\n".encode())

    answer = service.get(f"/tasks/{task_id}/artifacts/1/install.log")

    assert (answer.status_code, answer.text) == (200, "läuft\n")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    "name", ["remove.log", "..", "%2e%2e%2f%2e%2e%2fledger.sqlite", "x" * 1500, "x" * 300 + ".log", "a%00.log", ".log"]
)
def test_an_artifact_that_is_not_there_or_no_artifact_is_404(service: Service, name: str) -> None:
    task_id = service.scheduled()

    assert service.get(f"/tasks/{task_id}/artifacts/1/{name}").status_code == 404


@pytest.mark.parametrize("task_id", [TASK_ID, "nonsense", "%00", "%ff", "1", "..%2f", "a" * 1500, "ü", "%F0%9F%90%A7"])
def test_what_is_no_known_id_is_404(service: Service, task_id: str) -> None:
    assert service.get(f"/tasks/{task_id}/result").status_code == 404
    assert service.get(f"/tasks/{task_id}").status_code == 404
    assert service.client.post(f"/tasks/{task_id}/cancel", headers=bearer()).status_code == 404


def test_states_are_told_in_celerys_words(service: Service) -> None:
    task_id = service.scheduled()
    assert service.state_of(task_id) == "PENDING"

    service.ledger.outbox.mark_sent(service.ledger.outbox.due(limit=10))
    assert service.state_of(task_id) == "PENDING"

    service.ledger.attempts.claim(task_id, worker="worker-1")
    assert service.state_of(task_id) == "STARTED"

    service.ledger.attempts.report(task_id, 1, a_report(task_id=task_id, outcome=Outcome.ERRORED, retryable=True))
    assert service.state_of(task_id) == "RETRY"


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Outcome.PASSED, "SUCCESS"),
        (Outcome.FAILED, "FAILURE"),
        (Outcome.ERRORED, "FAILURE"),
        (Outcome.CANCELLED, "REVOKED"),
    ],
)
def test_a_finished_tasks_result_is_the_report(service: Service, outcome: Outcome, state: str) -> None:
    task_id = service.scheduled()
    service.ledger.attempts.claim(task_id, worker="worker-1")
    report = a_report(task_id=task_id, outcome=outcome)
    service.ledger.attempts.report(task_id, 1, report)

    assert service.get(f"/tasks/{task_id}/result").json() == {
        "task_id": task_id,
        "state": state,
        "outcome": outcome,
        "submitted_by": ME,
        "result": json.loads(report.to_json()),
    }


def test_an_unfinished_task_has_no_outcome_and_no_result(service: Service) -> None:
    task_id = service.scheduled()

    answer = service.get(f"/tasks/{task_id}/result")

    assert answer.status_code == 200
    assert answer.json() == {
        "task_id": task_id,
        "state": "PENDING",
        "outcome": None,
        "submitted_by": ME,
        "result": None,
    }


def test_the_details_show_the_stages_as_they_happen(service: Service) -> None:
    task_id = service.scheduled(package_version="2.10-3")
    service.ledger.attempts.claim(task_id, worker="worker-1")
    service.ledger.attempts.heartbeat(task_id, 1, progress=a_report().stages)

    details = service.get(f"/tasks/{task_id}").json()

    assert details["phase"] == "running"
    assert (details["attempt"], details["worker"]) == (1, "worker-1")
    assert details["submitted_by"] == "me@example.org"
    assert [stage["stage"] for stage in details["progress"]] == ["install"]
    assert details["spec"]["package_version"] == "2.10-3"
    assert details["created_at"] == "2023-11-14T22:13:20.000+00:00"
    assert details["finished_at"] is None


def test_a_waiting_task_is_cancelled_at_once_and_a_second_time_changes_nothing(service: Service) -> None:
    task_id = service.scheduled()

    answer = service.client.post(f"/tasks/{task_id}/cancel", headers=bearer())

    assert answer.status_code == 200
    assert answer.json() == {"task_id": task_id, "state": "REVOKED", "cancel_requested": True}
    assert service.get(f"/tasks/{task_id}/result").json()["outcome"] == "cancelled"
    again = service.client.post(f"/tasks/{task_id}/cancel", headers=bearer())
    assert (again.status_code, again.json()) == (200, answer.json())


def test_the_history_of_a_task_is_shown_with_times_attempts_and_workers(service: Service) -> None:
    task_id = service.scheduled()
    service.ledger.attempts.claim(task_id, worker="worker-1")
    service.ledger.attempts.release(task_id, 1, reason="draining")

    answer = service.get(f"/tasks/{task_id}/history")

    assert answer.status_code == 200
    assert [(one["event"], one["phase"], one["attempt"], one["worker"]) for one in answer.json()["history"]] == [
        ("accepted", "accepted", 0, None),
        ("claimed", "running", 1, "worker-1"),
        ("released", "accepted", 1, "worker-1"),
    ]
    assert answer.json()["history"][2]["reason"] == "draining"
    assert answer.json()["history"][0]["at"] == "2023-11-14T22:13:20.000+00:00"
    assert service.get(f"/tasks/{TASK_ID}/history").status_code == 404


def test_a_running_tasks_cancel_is_on_its_way(service: Service) -> None:
    task_id = service.scheduled()
    service.ledger.attempts.claim(task_id, worker="worker-1")

    for _ in range(2):
        answer = service.client.post(f"/tasks/{task_id}/cancel", headers=bearer())
        assert (answer.status_code, answer.json()["state"]) == (202, "STARTED")

    assert service.ledger.attempts.heartbeat(task_id, 1) is True


def test_many_at_once_all_get_a_task_of_their_own(service: Service) -> None:
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda: answers.append(service.schedule())) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["task_id"] for answer in answers}) == 20


class BrokenTasks(Tasks):
    """Tasks that cannot be read: every look-up raises the same error."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def get(self, task_id: str) -> Any:
        raise self.error


class BrokenLedger(SqlLedger):
    """A ledger whose every look-up raises the same error."""

    def __init__(self, folder: Path, error: Exception) -> None:
        super().__init__(a_database(f"sqlite:///{folder}/ledger.sqlite"), LedgerRules())
        self.tasks = BrokenTasks(error)
        self.error = error

    def check(self) -> None:
        raise self.error


def broken(tmp_path: Path, error: Exception) -> TestClient:
    return TestClient(create_app(some_services(tmp_path, BrokenLedger(tmp_path, error))), raise_server_exceptions=False)


def test_a_ledger_that_is_away_means_try_again(tmp_path: Path) -> None:
    answer = broken(tmp_path, LedgerUnavailable("no answer")).get(f"/tasks/{TASK_ID}", headers=bearer())

    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"


def test_a_bug_is_answered_without_its_secrets(tmp_path: Path) -> None:
    answer = broken(tmp_path, RuntimeError("secret inner life")).get(f"/tasks/{TASK_ID}", headers=bearer())

    assert (answer.status_code, answer.json()) == (500, {"detail": "internal error"})


@pytest.fixture
def degraded(tmp_path: Path) -> Iterator[TestClient]:
    """A service whose broker is away."""

    def away() -> None:
        raise BrokerUnavailable("connection to amqp://10.1.2.3:5672 refused")

    ledger = a_ledger(tmp_path, HandClock())
    health = Health({"ledger": ledger.check, "broker": away})
    with TestClient(create_app(some_services(tmp_path, ledger, health=health))) as client:
        yield client


FORGED = {"Authorization": "Bearer a.b.c"}


@pytest.mark.parametrize("headers", [{}, FORGED], ids=["no token", "a forged one"])
def test_strangers_hear_from_health_which_part_is_not_well_and_not_why(
    degraded: TestClient, headers: dict[str, str]
) -> None:
    answer = degraded.get("/health", headers=headers)

    assert answer.status_code == 200
    assert answer.json() == {
        "status": "degraded",
        "parts": {"ledger": {"ok": True, "detail": ""}, "broker": {"ok": False, "detail": ""}},
    }


@pytest.mark.parametrize("scope", list(Scope))
def test_with_a_token_health_says_why_a_part_is_not_well(degraded: TestClient, scope: Scope) -> None:
    parts = degraded.get("/health", headers=bearer(scope)).json()["parts"]

    assert parts["broker"] == {"ok": False, "detail": "connection to amqp://10.1.2.3:5672 refused"}


def test_an_expired_token_opens_no_details(degraded: TestClient) -> None:
    expired = bearer(Scope.ADMIN, lifetime=timedelta(minutes=-1))

    assert degraded.get("/health", headers=expired).json()["parts"]["broker"]["detail"] == ""


def test_a_full_disk_refuses_new_tasks_and_shows_the_others(tmp_path: Path) -> None:
    ledger = a_ledger(tmp_path, HandClock())
    task_id = ledger.tasks.add(a_spec(), queue=QUEUE, submitted_by="me@example.org")
    free, clock = [0], HandClock()
    room = Room(tmp_path, free=lambda _folder: free[0], clock=clock)
    with TestClient(create_app(some_services(tmp_path, ledger, room=room))) as client:
        refused = client.post("/tasks/schedule", json=REQUEST, headers=bearer())
        assert refused.status_code == 503
        assert "0 MB are free" in refused.json()["detail"]
        assert refused.headers["Retry-After"]
        assert client.get(f"/tasks/{task_id}", headers=bearer()).status_code == 200

        free[0] = 1 << 30
        clock.pass_by(2)

        assert client.post("/tasks/schedule", json=REQUEST, headers=bearer()).status_code == 201


def test_health_is_503_only_without_a_ledger(tmp_path: Path) -> None:
    answer = broken(tmp_path, LedgerUnavailable("no answer")).get("/health")

    assert answer.status_code == 503
    assert answer.json()["status"] == "down"


def test_a_part_that_hangs_neither_delays_the_others_nor_piles_up_threads() -> None:
    release, entered = threading.Event(), threading.Semaphore(0)

    def hang() -> None:
        entered.release()
        release.wait(10)

    health = Health({"ledger": lambda: None, "storage": hang}, seconds=0.05, kept=0)
    answers = [health.ask() for _ in range(5)]
    release.set()
    health.close()

    assert all(answer["ledger"].ok for answer in answers)
    assert {answer["storage"].detail for answer in answers} == {"no answer within 0.05 s"}
    assert entered.acquire(blocking=False)
    assert not entered.acquire(blocking=False)


def test_a_part_is_not_asked_again_for_whoever_asks_at_once() -> None:
    asked: list[float] = []
    clock = HandClock()
    health = Health({"ledger": lambda: asked.append(clock.now)}, kept=1.0, clock=clock)

    for seconds in (0.0, 0.0, 0.9, 0.1, 0.5):
        clock.pass_by(seconds)
        assert health.ask()["ledger"].ok
    health.close()

    assert len(asked) == 2


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_the_documentation_loads_nothing_from_outside(service: Service, page: str) -> None:
    html = service.client.get(page).text

    assets = re.findall(r"""(?:src|href)="([^"]+)\"""", html)
    assert assets
    for asset in assets:
        assert asset.startswith("/"), asset
        assert service.client.get(asset).status_code == 200, asset
    assert not re.findall(r"https?://", html)


def test_the_documentation_has_an_authorize_button_and_every_route(service: Service) -> None:
    document = service.client.get("/openapi.json").json()

    assert document["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
    assert document["paths"]["/tasks/schedule"]["post"]["security"] == [{"HTTPBearer": []}]
    assert "security" not in document["paths"]["/health"]["get"]
    result = document["paths"]["/tasks/{task_id}/result"]["get"]["responses"]
    assert result["200"]["content"]["application/json"]["schema"]["$ref"].endswith("/TaskResult")
    assert {"401", "403", "404", "503"} <= set(result)


def test_every_example_in_the_documentation_is_accepted(service: Service) -> None:
    examples = service.client.get("/openapi.json").json()["components"]["schemas"]["TaskSpec"]["examples"]

    assert [service.schedule(**example).status_code for example in examples] == [201] * len(examples)


def test_after_the_application_has_ended_its_tasks_are_still_there(tmp_path: Path) -> None:
    clock = HandClock()
    with TestClient(create_app(some_services(tmp_path, a_ledger(tmp_path, clock)))) as client:
        task_id = client.post("/tasks/schedule", json=REQUEST, headers=bearer()).json()["task_id"]

    ledger = a_ledger(tmp_path, clock)
    assert ledger.tasks.get(task_id).state in (TaskState.ACCEPTED, TaskState.QUEUED)
    ledger.close()


def test_a_request_that_is_sent_again_with_its_key_gets_its_task_again(service: Service) -> None:
    def send(key: str, package: str = "hello") -> Any:
        headers = {**bearer(), "Idempotency-Key": key}
        return service.client.post("/tasks/schedule", json={**REQUEST, "package_name": package}, headers=headers)

    first, again, other = send("a-key"), send("a-key"), send("a-key", "jq")

    assert (first.status_code, again.status_code, other.status_code) == (201, 201, 409)
    assert first.json() == again.json()
    assert "Idempotency-Key" in other.json()["detail"]


@pytest.mark.parametrize("key", ["", "two words", "x" * 256, "ümlaut".encode().decode("latin-1")])
def test_a_key_of_odd_letters_or_length_is_refused(service: Service, key: str) -> None:
    headers = {**bearer(), "Idempotency-Key": key.encode("latin-1")}
    answer = service.client.post("/tasks/schedule", json=REQUEST, headers=headers)

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["header", "idempotency-key"]


def test_a_list_of_tasks_is_cancelled_as_far_as_it_can_be(service: Service) -> None:
    waiting, running, finished = (service.scheduled() for _ in range(3))
    theirs = service.client.post("/tasks/schedule", json=REQUEST, headers=bearer(email="you@example.org"))
    service.ledger.attempts.claim(running, worker="w")
    service.ledger.attempts.claim(finished, worker="w")
    service.ledger.attempts.report(finished, 1, a_report(task_id=finished))
    ids = [waiting, running, finished, theirs.json()["task_id"], TASK_ID, "../etc"]

    answer = service.client.post("/tasks/cancel", json={"task_ids": ids}, headers=bearer())

    assert answer.status_code == 200
    said = answer.json()["tasks"]
    assert [one["task_id"] for one in said] == ids
    assert [one["state"] for one in said] == ["REVOKED", "STARTED", None, None, None, None]
    assert [one["cancel_requested"] for one in said] == [True, True, False, False, False, False]
    assert all(one["problem"] for one in said[2:])
    # The outbox may have queued it already.
    assert service.ledger.tasks.get(theirs.json()["task_id"]).state in (TaskState.ACCEPTED, TaskState.QUEUED)


@pytest.mark.parametrize("ids", [[], [TASK_ID] * 1001, "all", [1], ["x" * 37]], ids=lambda ids: str(ids)[:12])
def test_a_list_to_cancel_is_of_ids_and_bounded(service: Service, ids: Any) -> None:
    answer = service.client.post("/tasks/cancel", json={"task_ids": ids}, headers=bearer())

    assert answer.status_code == 422
