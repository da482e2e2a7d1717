"""The provider's process lives exactly as long as its worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alts.core.stop import Stop, Stopped, StopReason
from alts.runners.docker.provider import ADDRESS
from alts.runners.docker.provider.process import ProviderProcess
from alts.shared.errors import InfrastructureError
from tests.support.checkout import ROOT
from tests.support.processes import ended, pids_of

HOST = "unix:///nonexistent/docker.sock"

WORKER = """
import sys, time
from pathlib import Path
from alts.runners.docker.provider.process import ProviderProcess
from alts.core.stop import Stop
provider = ProviderProcess(Path(sys.argv[1]), docker_host="unix:///nonexistent/docker.sock")
print(provider.environment(Stop(60))["TF_REATTACH_PROVIDERS"], flush=True)
time.sleep(60)
"""


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[ProviderProcess]:
    provider = ProviderProcess(tmp_path / "p", docker_host=HOST)
    yield provider
    provider.close()


def reattach(value: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(value)[ADDRESS]
    return found


def attached(provider: ProviderProcess) -> dict[str, Any]:
    return reattach(provider.environment(Stop(60))["TF_REATTACH_PROVIDERS"])


def test_it_is_started_by_the_first_who_asks_and_shared_by_all(provider: ProviderProcess, tmp_path: Path) -> None:
    assert not (tmp_path / "p").exists()
    values: list[dict[str, Any]] = []
    threads = [threading.Thread(target=lambda: values.append(attached(provider))) for _ in range(6)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(values) == 6
    assert all(value == values[0] for value in values)
    assert len(pids_of("alts.runners.docker.provider", values[0]["Addr"]["String"])) == 1


def test_nobody_else_may_enter_the_sockets_folder(provider: ProviderProcess) -> None:
    socket = Path(attached(provider)["Addr"]["String"])

    assert socket.is_socket()
    assert socket.parent.stat().st_mode & 0o777 == 0o700


def test_close_ends_it_and_leaves_only_the_log(provider: ProviderProcess, tmp_path: Path) -> None:
    pid = attached(provider)["Pid"]

    provider.close()
    provider.close()

    assert ended(pid, within=0.1)
    assert [path.name for path in (tmp_path / "p").iterdir()] == ["provider.log"]
    with pytest.raises(InfrastructureError, match="closed"):
        provider.environment(Stop(60))


def test_one_that_died_is_started_again_at_the_same_place(provider: ProviderProcess) -> None:
    first = attached(provider)
    os.kill(first["Pid"], signal.SIGKILL)

    # The kernel reports a death when the last thread is gone.
    end = time.monotonic() + 5
    while (second := attached(provider))["Pid"] == first["Pid"] and time.monotonic() < end:
        time.sleep(0.02)

    assert second["Pid"] != first["Pid"]
    assert second["Addr"] == first["Addr"]
    assert Path(second["Addr"]["String"]).is_socket()


def test_terraform_is_told_of_the_provider_itself_which_it_may_watch_and_does_not_end(
    provider: ProviderProcess,
) -> None:
    value = attached(provider)

    assert pids_of("alts.runners.docker.provider", value["Addr"]["String"]) == [value["Pid"]]
    assert (value["Test"], value["ProtocolVersion"]) == (True, 6)


def test_a_long_folder_does_not_make_the_sockets_path_too_long(tmp_path: Path) -> None:
    provider = ProviderProcess(tmp_path / ("long" * 30), docker_host=HOST)

    socket = Path(attached(provider)["Addr"]["String"])
    assert len(str(socket)) < 108
    assert socket.parent.stat().st_mode & 0o777 == 0o700
    provider.close()

    assert not socket.parent.exists()


def test_it_ends_when_its_worker_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT, text=True
    ) as worker:
        assert worker.stdout is not None
        value = reattach(worker.stdout.readline())
        pid = value["Pid"]
        worker.kill()

    assert ended(pid)
    assert not Path(value["Addr"]["String"]).exists()


def test_it_survives_the_interrupt_that_ends_its_worker_until_the_worker_is_gone(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        text=True,
        start_new_session=True,
    ) as worker:
        assert worker.stdout is not None
        pid = reattach(worker.stdout.readline())["Pid"]
        assert os.getpgid(pid) != os.getpgid(worker.pid)
        os.killpg(worker.pid, signal.SIGINT)

    assert ended(pid)


def test_one_that_does_not_start_tells_why(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    (folder / "socket.d").mkdir()
    (folder / "socket.d" / "socket").mkdir()

    with pytest.raises(InfrastructureError, match="did not start") as caught:
        ProviderProcess(folder, docker_host=HOST).environment(Stop(60))

    assert "Error" in caught.value.details


def test_whoever_waits_for_one_that_hangs_can_be_stopped(tmp_path: Path) -> None:
    hanging = tmp_path / "python"
    hanging.write_text("#!/bin/sh\nexec sleep 300.20877\n")
    hanging.chmod(0o755)
    provider = ProviderProcess(tmp_path / "p", docker_host=HOST, python=str(hanging))
    stops = [Stop(300), Stop(300)]
    reasons: list[StopReason] = []

    def ask(stop: Stop) -> None:
        with pytest.raises(Stopped) as caught:
            provider.environment(stop)
        reasons.append(caught.value.reason)

    threads = [threading.Thread(target=ask, args=(stop,)) for stop in stops]
    for thread in threads:
        thread.start()
    # One thread waits for the provider, the other for the first thread.
    for stop in stops:
        stop.request(StopReason.CANCELLED)
    for thread in threads:
        thread.join(30)

    assert reasons == [StopReason.CANCELLED, StopReason.CANCELLED]
    assert pids_of("sleep 300.20877") == []
    provider.close()
