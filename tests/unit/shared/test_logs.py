"""The form of a log line, and the facts that it carries."""

from __future__ import annotations

import logging
import threading
from contextvars import copy_context
from pathlib import Path

import pytest
from pydantic import SecretStr
from structlog.contextvars import bound_contextvars

from alts.shared.logs import line_formatter
from tests.support.log_lines import captured_lines

log = logging.getLogger("alts.test")


def logged_in(thread: threading.Thread) -> str:
    with captured_lines() as lines:
        thread.start()
        thread.join()
    return lines[0]


def test_a_line_has_time_level_logger_message_and_sorted_facts() -> None:
    with captured_lines() as lines:
        log.info("stage %s", "finished", extra={"task_id": "t", "folder": Path("/a b"), "attempt": 1, "none": None})

    date, time, rest = lines[0].split(" ", 2)
    assert len(date) == len("2026-01-31")
    assert len(time) == len("23:59:59,999")
    assert rest == "INFO alts.test: stage finished attempt=1 folder=/a b none=None task_id=t"


def test_facts_that_are_bound_are_on_every_line_until_the_end() -> None:
    with captured_lines() as lines:
        with bound_contextvars(task_id="t", attempt=2):
            log.info("one")
            log.info("two", extra={"attempt": 3})
        log.info("three")

    assert [line.partition(": ")[2] for line in lines] == [
        "one attempt=2 task_id=t",
        "two attempt=3 task_id=t",
        "three",
    ]


def test_a_thread_has_the_facts_of_the_context_that_it_runs_in() -> None:
    def speak() -> None:
        log.info("here")

    with bound_contextvars(task_id="t"):
        inside, outside = threading.Thread(target=copy_context().run, args=(speak,)), threading.Thread(target=speak)

    assert logged_in(inside).endswith("here task_id=t")
    assert logged_in(outside).endswith("here")


def test_the_traceback_follows_the_facts() -> None:
    with captured_lines() as lines:
        try:
            raise ValueError("no")  # noqa: TRY301 - the traceback is the point
        except ValueError:
            log.exception("broke", extra={"task_id": "t"})

    assert lines[0].endswith("ERROR alts.test: broke task_id=t")
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-1] == "ValueError: no"


def test_a_secret_is_hidden() -> None:
    with captured_lines() as lines, bound_contextvars(token=SecretStr("hunter2")):
        log.info("here", extra={"password": SecretStr("hunter2"), "all": {"password": SecretStr("hunter2")}})

    assert "hunter2" not in lines[0]
    assert "password=**********" in lines[0]


@pytest.mark.parametrize("extra", [{"data": {"id": "1"}}, {"color_message": "\x1b[1mhere"}], ids=["celery", "uvicorn"])
def test_extras_of_libraries_are_left_out(extra: dict[str, object]) -> None:
    with captured_lines() as lines:
        log.info("here", extra=extra)

    assert lines[0].endswith("alts.test: here")


def test_another_handlers_formatter_adds_no_facts() -> None:
    record = logging.makeLogRecord({"msg": "here", "name": "alts.test"})
    logging.Formatter("%(asctime)s %(message)s").format(record)

    assert line_formatter().format(record).endswith("alts.test: here")
