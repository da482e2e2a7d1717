"""Large bodies: their thread, their limit, their cost for callers, and their remains."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.exceptions import RequestValidationError

from alts.shared.auth.tokens import Scope
from alts.shared.errors import SchedulerBusy
from alts.shared.models.repository import parse_source
from alts.shared.models.task_spec import TaskSpec
from scheduler.api.application import create_app
from scheduler.api.body_reader import SMALL, BodyReader
from scheduler.api.errors import MOST_ERRORS
from scheduler.api.middleware.body_limit import CALLER_LIMIT, PLACES_EACH
from scheduler.api.middleware.body_limit import SMALL as SMALL_ENOUGH
from scheduler.api.middleware.body_places import Places
from tests.support.builders import TASK_ID
from tests.support.hostile_bodies import HOSTILE
from tests.support.scheduler_parts import HandClock, a_ledger, bearer, some_services

JSON = {"Content-Type": "application/json"}
REPOSITORIES = b'{"repositories":[' + b",".join([b"{}"] * 300_000) + b"]}"


class NotingField:
    """A route's body that records its thread and values at each check. It takes any value, slowly."""

    def __init__(self, *, seconds: float = 0.0) -> None:
        self.threads: list[threading.Thread] = []
        self.at_once = self.most_at_once = 0
        self._seconds = seconds

    def validate(self, value: Any, *, loc: tuple[int | str, ...]) -> tuple[Any, list[Any]]:
        self.threads.append(threading.current_thread())
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        time.sleep(self._seconds)
        self.at_once -= 1
        return value, []


def an_app(tmp_path: Path, **changes: Any) -> Any:
    return create_app(some_services(tmp_path, a_ledger(tmp_path, HandClock()), **changes))


def post(app: Any, path: str, content: Any, headers: dict[str, str]) -> httpx.Response:
    async def once() -> httpx.Response:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://alts") as client:
            return await client.post(path, content=content, headers={**headers, **JSON})

    return asyncio.run(once())


# threads


def test_a_large_body_is_parsed_and_checked_off_the_event_loop() -> None:
    field = NotingField()
    reader = BodyReader(most_values=10, patience=5)

    asyncio.run(reader.read(b" " * SMALL + b"1", field))
    asyncio.run(reader.read(b"1", field))

    assert [thread is threading.main_thread() for thread in field.threads] == [False, True]


# Smaller than in the test, because every process of a test run imports this file.
LARGE = [
    one for one in HOSTILE if one.scope in (Scope.ADMIN, Scope.WORKER) and len(one.make(CALLER_LIMIT // 8)) > SMALL
]


@pytest.mark.slow
@pytest.mark.parametrize("hostile", LARGE, ids=lambda one: one.name)
def test_on_the_event_loop_a_large_body_is_no_more_work_than_a_small_one(tmp_path: Path, hostile: Any) -> None:
    app, headers, body = an_app(tmp_path), bearer(hostile.scope), hostile.body
    small = calls_on_the_loop(lambda: post(app, hostile.path, b"{}", headers))

    large = calls_on_the_loop(lambda: post(app, hostile.path, body, headers))

    assert large < small + 2500


def calls_on_the_loop(ask: Callable[[], object]) -> int:
    """Count the function calls in this thread, whose event loop serves the request."""
    calls = 0

    def count(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    ask()  # actions that happen once are not counted
    sys.setprofile(count)
    try:
        ask()
    finally:
        sys.setprofile(None)
    return calls


def test_large_bodies_are_read_one_at_a_time() -> None:
    field = NotingField(seconds=0.02)
    reader = BodyReader(most_values=10, patience=30)

    async def crowd() -> None:
        await asyncio.gather(*(reader.read(b" " * SMALL + b"1", field) for _ in range(8)))

    asyncio.run(crowd())

    assert (len(field.threads), field.most_at_once) == (8, 1)


def test_who_waits_too_long_to_be_read_is_told_to_come_again() -> None:
    reader = BodyReader(most_values=10, patience=0.05)

    async def crowd() -> list[Any]:
        bodies = (reader.read(b" " * SMALL + b"1", NotingField(seconds=0.3)) for _ in range(2))
        return await asyncio.gather(*bodies, return_exceptions=True)

    answers = asyncio.run(crowd())

    assert answers[0] == 1
    assert isinstance(answers[1], SchedulerBusy)


def test_more_values_than_are_accepted_are_not_even_parsed() -> None:
    field = NotingField()
    reader = BodyReader(most_values=10, patience=5)

    with pytest.raises(RequestValidationError) as refused:
        asyncio.run(reader.read(b"[" + b"1," * 10_000 + b"not JSON", field))

    assert "more than 10 values" in refused.value.errors()[0]["ctx"]["error"]
    assert field.threads == []


@pytest.mark.slow
@pytest.mark.parametrize("hostile", [one for one in HOSTILE if one.scope is Scope.ADMIN], ids=lambda one: one.name)
def test_no_answer_has_more_than_a_few_errors(tmp_path: Path, hostile: Any) -> None:
    answer = post(an_app(tmp_path), hostile.path, hostile.body, bearer(Scope.ADMIN))

    assert answer.status_code in (200, 201, 404, 422)
    assert answer.status_code != 422 or 1 <= len(answer.json()["detail"]) <= MOST_ERRORS
    assert len(answer.content) < 10_000 or answer.status_code == 200


def test_of_forty_errors_five_are_told(tmp_path: Path) -> None:
    body = json.dumps({f"unknown-{number}": 1 for number in range(40)}).encode()

    answer = post(an_app(tmp_path), "/tasks/schedule", body, bearer())

    assert answer.status_code == 422
    assert len(answer.json()["detail"]) == 5


@pytest.mark.parametrize("body", [b"no JSON", REPOSITORIES], ids=["no JSON", "large"])
def test_the_scope_is_asked_for_before_a_body_is_parsed(tmp_path: Path, body: bytes) -> None:
    assert post(an_app(tmp_path), "/tasks/schedule", body, bearer(Scope.READ)).status_code == 403


# simultaneous bodies


def test_each_holder_has_some_of_the_places_and_all_have_no_more_than_there_are() -> None:
    places = Places(3, each=2, patience=0.05)

    async def hold(holder: str) -> bool:
        try:
            async with places.place(holder):
                await asyncio.sleep(0.3)
        except SchedulerBusy:
            return False
        return True

    async def crowd() -> list[bool]:
        return await asyncio.gather(*(hold(holder) for holder in ("a", "a", "a", "b", "b")))

    assert asyncio.run(crowd()) == [True, True, False, True, False]


def test_a_place_is_given_back_whatever_happens() -> None:
    places = Places(1, each=1, patience=0.05)

    async def one_after_another() -> None:
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                async with places.place("a"):
                    raise ZeroDivisionError
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01), places.place("a"):
                    await asyncio.sleep(1)

    asyncio.run(one_after_another())


def test_who_dawdles_with_large_bodies_keeps_only_themselves_from_sending_more(tmp_path: Path) -> None:
    app = an_app(tmp_path, caller_requests_per_minute=0)
    come = asyncio.Event

    async def crowd() -> tuple[int, int]:
        transport = httpx.ASGITransport(app=app)
        more, taken = come(), 0

        async def dawdling() -> Any:
            nonlocal taken
            taken += 1
            yield b"[" * SMALL_ENOUGH
            await more.wait()
            yield b"["

        async with httpx.AsyncClient(transport=transport, base_url="http://alts") as client:
            headers = {**bearer(), **JSON}
            slow = [
                asyncio.ensure_future(client.post("/tasks/schedule", content=dawdling(), headers=headers))
                for _ in range(PLACES_EACH + 3)
            ]
            await asyncio.sleep(0.1)
            other = {**bearer(email="you@example.org"), **JSON}
            answer = await client.post("/tasks/schedule", content=b" " * CALLER_LIMIT, headers=other)
            begun = taken
            more.set()
            await asyncio.gather(*slow)
        return begun, answer.status_code

    assert asyncio.run(crowd()) == (PLACES_EACH, 422)


# cost


def test_a_megabyte_costs_as_much_as_a_hundred_requests_although_it_is_refused(tmp_path: Path) -> None:
    app = an_app(tmp_path, caller_requests_per_minute=300)
    body = b" " * CALLER_LIMIT

    statuses = [post(app, "/tasks/schedule", body, bearer()).status_code for _ in range(5)]

    assert statuses == [422, 422, 422, 429, 429]
    assert post(app, "/tasks/schedule", body, bearer(email="you@example.org")).status_code == 422


def test_so_does_one_whose_length_is_not_announced(tmp_path: Path) -> None:
    app = an_app(tmp_path, caller_requests_per_minute=300)

    async def pieces() -> Any:
        for _ in range(40):
            yield b" " * (CALLER_LIMIT // 32)

    statuses = [post(app, "/tasks/schedule", pieces(), bearer()).status_code for _ in range(5)]

    assert statuses == [413, 413, 413, 429, 429]


def test_an_ordinary_request_costs_one(tmp_path: Path) -> None:
    app = an_app(tmp_path, caller_requests_per_minute=10)
    body = json.dumps({"package_name": "hello", "repositories": [{"gpg_key": "x" * 7000}]}).encode()

    statuses = [post(app, "/tasks/schedule", body, bearer()).status_code for _ in range(11)]

    assert statuses == [422] * 10 + [429]


@pytest.mark.parametrize(("scope", "path"), [(Scope.ADMIN, "/tasks/schedule"), (Scope.WORKER, "/worker/presence")])
def test_admins_and_workers_pay_nothing(tmp_path: Path, scope: Scope, path: str) -> None:
    app = an_app(tmp_path, caller_requests_per_minute=1)

    assert {post(app, path, b" " * CALLER_LIMIT, bearer(scope)).status_code for _ in range(3)} == {422}


# remains


@pytest.mark.slow
@pytest.mark.parametrize("hostile", [one for one in HOSTILE if "long name" in one.name or "nested" in one.name])
def test_of_a_refused_body_nothing_stays_until_somebody_collects_garbage(tmp_path: Path, hostile: Any) -> None:
    app, body = an_app(tmp_path), hostile.body
    headers = bearer(hostile.scope)
    post(app, hostile.path, body, headers)
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        for _ in range(10):
            assert post(app, hostile.path, body, headers).status_code == 422
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()

    # The thread that read the last body keeps it until the next one.
    assert kept < 3 * len(body)


# repositories


@pytest.mark.parametrize(
    "url",
    ["http://a " + " " * 65_000 + "x", "http://a b" + " c" * 30_000, f"deb [arch={'a,' * 30_000}a] http://a b c"],
    ids=["blanks", "components", "architectures"],
)
def test_a_url_that_is_much_work_is_refused_at_once(url: str) -> None:
    repositories = [{"url": url}] * 16
    started = time.process_time()

    with pytest.raises(ValueError, match="suite"):
        TaskSpec.model_validate({"dist_name": "debian", "repositories": repositories})

    # These took two to sixty seconds with a search from each of their characters, or for each pair.
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("line", "as_written"),
    [
        ("http://a b  c \t # main", "http://a b c"),
        ("http://a b c #main # x", "http://a b c"),
        ("http://a#b b c", None),
        (f"http://a b {TASK_ID}   ", f"http://a b {TASK_ID}"),
    ],
)
def test_comments_and_blanks_at_the_end_are_no_part_of_a_line(line: str, as_written: str | None) -> None:
    if as_written is None:
        with pytest.raises(ValueError, match="credentials"):
            parse_source(line)
    else:
        assert parse_source(line).line == as_written
