"""The scheduler's entry point as the operator sees it."""

from __future__ import annotations

import ast
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.builders import SECRET
from tests.support.checkout import ROOT

# The last CMD of the image's Dockerfile, without the address.
COMMAND: list[str] = json.loads((ROOT / "Dockerfile.scheduler").read_text().rpartition("CMD ")[2].replace("\\\n", ""))


def a_config_file(folder: Path, **changes: str) -> Path:
    keys = {
        "jwt_secret": SECRET,
        "rabbitmq_password": "unused",
        "rabbitmq_host": "127.0.0.1",
        "rabbitmq_port": "1",
        "storage": "folder",
        "storage_folder": f"{folder}/storage",
        "database_url": f"sqlite:///{folder}/ledger.sqlite",
        **changes,
    }
    path = folder / "config.yaml"
    path.write_text("".join(f"{key}: {value}\n" for key, value in keys.items()))
    return path


@pytest.mark.slow
def test_a_configuration_that_cannot_work_is_one_line_and_2(tmp_path: Path) -> None:
    environment = os.environ | {"ALTS_CONFIG": str(a_config_file(tmp_path, broker="memory"))}

    done = subprocess.run(
        [sys.executable, "-c", "import scheduler.app"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "alts run" in done.stderr


@pytest.mark.slow
def test_with_the_broker_away_tasks_are_accepted_and_sigterm_ends_it_cleanly(tmp_path: Path) -> None:
    log: list[str] = []
    with started(a_config_file(tmp_path), log) as (_port, health):
        pass

    assert health["status"] == "degraded"
    assert health["parts"]["ledger"]["ok"]
    assert not health["parts"]["broker"]["ok"]
    assert "Application shutdown complete" in log[0]
    assert "Traceback" not in log[0]


@pytest.mark.slow
def test_headers_without_end_are_refused_before_they_fill_the_memory(tmp_path: Path) -> None:
    with (
        started(a_config_file(tmp_path), []) as (port, _health),
        socket.create_connection(("127.0.0.1", port), timeout=20) as connection,
    ):
        try:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 40_000)
            answer = connection.recv(65_536)
        except ConnectionError:
            answer = b""

    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")


def test_the_embedded_server_reads_headers_with_an_end_too() -> None:
    calls = [
        node
        for node in ast.walk(ast.parse((ROOT / "alts/embedded/stack.py").read_text()))
        if isinstance(node, ast.Call)
    ]
    [server] = [call for call in calls if ast.unparse(call.func) == "uvicorn.Config"]

    assert {word.arg: ast.unparse(word.value) for word in server.keywords}["http"] == "'h11'"


@contextmanager
def started(config: Path, log: list[str]) -> Iterator[tuple[int, Any]]:
    """Yield the scheduler's port and its /health once it answers. Its log is in `log` afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", *COMMAND, "--host", "127.0.0.1", "--port", str(port)]
    environment = os.environ | {"ALTS_CONFIG": str(config)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield port, wait_for_health(f"http://127.0.0.1:{port}/health", process)
        finally:
            process.send_signal(signal.SIGTERM)
            log.append(process.communicate(timeout=20)[1])


def wait_for_health(url: str, process: subprocess.Popen[str]) -> Any:
    deadline = time.monotonic() + 30
    while True:
        assert process.poll() is None, "the server did not start"
        assert time.monotonic() < deadline, "the server does not answer"
        try:
            answer = httpx.get(url, timeout=5).json()
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return answer
