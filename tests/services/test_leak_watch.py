"""The watch for secrets detects each kind of leak. Otherwise a clean result would prove nothing."""

from __future__ import annotations

import secrets
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.leak_watch import LeakWatch

SECRET = secrets.token_hex(16)


@pytest.fixture
def watch() -> LeakWatch:
    return LeakWatch({"the password": SECRET})


def test_a_text_with_the_secret_in_it_is_a_leak(watch: LeakWatch) -> None:
    watch.search("answer", "/health", f"cannot connect to amqp://alts:{SECRET}@broker")
    watch.search("answer", "/tasks", "all is well")

    assert watch.leaks == {"the password in answer /health"}
    assert watch.looked_at == {"answer": 2}


def test_a_file_is_searched_and_one_that_may_hold_it_is_not(watch: LeakWatch, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "terraform.tfstate").write_bytes(b"\0" + SECRET.encode())
    (tmp_path / "config.yaml").write_text(SECRET)

    watch.search_files("file", tmp_path, but=[tmp_path / "config.yaml"])

    assert watch.leaks == {f"the password in file {tmp_path}/deep/terraform.tfstate"}


@pytest.mark.parametrize(
    ("arguments", "environment", "where"),
    [([SECRET], {}, "arguments"), ([], {"PASSWORD": SECRET}, "environment")],
    ids=["argument", "environment"],
)
def test_a_process_that_shows_it_for_a_moment_is_seen(
    watch: LeakWatch, tmp_path: Path, arguments: list[str], environment: dict[str, str], where: str
) -> None:
    with (
        watch.watching(tmp_path, holders=["a server that may"]),
        subprocess.Popen([sys.executable, "-c", "input()", *arguments], env=environment, stdin=subprocess.PIPE) as it,
    ):
        end = time.monotonic() + 30
        while not watch.leaks and time.monotonic() < end:
            time.sleep(0.05)
        it.communicate(b"\n")

    assert any(leak.startswith(f"the password in {where} ") for leak in watch.leaks), watch.leaks


def test_a_server_that_must_have_it_is_let_alone(watch: LeakWatch, tmp_path: Path) -> None:
    with (
        watch.watching(tmp_path, holders=["a server that may"]),
        subprocess.Popen(
            [sys.executable, "-c", "input()", "a server that may", SECRET], env={}, stdin=subprocess.PIPE
        ) as it,
    ):
        end = time.monotonic() + 30
        while watch.looked_at.get("arguments", 0) < 5 and time.monotonic() < end:
            time.sleep(0.05)
        it.communicate(b"\n")

    assert watch.leaks == set()
