"""The scheduler's entry point, as the operator meets it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from tests.builders import SECRET

ROOT = Path(__file__).parents[2]
UVICORN = [sys.executable, "-m", "uvicorn", "scheduler.app:app"]


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


def test_with_the_broker_away_tasks_are_accepted_and_sigterm_ends_it_cleanly(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"ALTS_CONFIG": str(a_config_file(tmp_path))}
    with subprocess.Popen(
        [*UVICORN, "--port", str(port)], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            health = wait_for_health(f"http://127.0.0.1:{port}/health", process)
        finally:
            process.send_signal(signal.SIGTERM)
            _, log = process.communicate(timeout=20)

    assert health["status"] == "degraded"
    assert health["parts"]["ledger"]["ok"]
    assert not health["parts"]["broker"]["ok"]
    assert "Application shutdown complete" in log
    assert "Traceback" not in log


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
