"""Playbooks on real containers: files arrive unchanged, failures are explained, and nothing is left behind."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import docker
import pytest
from docker.models.containers import Container

from alts.core.instance import InstanceFile
from alts.core.stop import Stop, Stopped, StopReason
from alts.provisioning.ansible import prepare_variables, run_playbook
from alts.runners.docker.module import docker_connection
from alts.shared.errors import ProvisionFailed
from tests.support.checkout import ROOT
from tests.support.engine_proxy import ENGINE
from tests.support.leftovers import THIS_RUN, processes_in
from tests.support.tools_image import tools_image

pytestmark = pytest.mark.docker

PLAYBOOKS = ROOT / "resources" / "ansible"
HOST = f"unix://{ENGINE}"
HOSTILE = 'it\'s "quoted" $(touch /pwned) `id` {{ 7 * 7 }} {% raw %} \\ \t ä\r\n!unsafe\n'


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    with tools_image() as image_id:
        yield image_id


@pytest.fixture(scope="module")
def machine(image: str) -> Iterator[Container]:
    """Yield one machine for all tests. Each writes to other paths."""
    client = docker.DockerClient(base_url=HOST)
    name = f"alts-test-{uuid.uuid4().hex[:8]}"
    container = client.containers.run(
        image, ["sleep", "infinity"], name=name, labels={"alts.task": name, **THIS_RUN}, init=True, detach=True
    )
    yield container
    container.remove(force=True)
    client.close()


def said(machine: Container, argv: list[str]) -> bytes:
    done = machine.exec_run(argv)
    assert done.exit_code == 0
    assert isinstance(done.output, bytes)
    return done.output


def content(machine: Container, path: str) -> bytes:
    return said(machine, ["cat", path])


def no_process_in(folder: Path, *, within: float = 2.0) -> bool:
    """Wait until no process works in the folder: killed processes end with a delay. `within`: seconds."""
    end = time.monotonic() + within
    while processes_in(folder) and time.monotonic() < end:
        time.sleep(0.05)
    return not processes_in(folder)


Play = Callable[..., str]


@pytest.fixture
def play(tmp_path: Path, machine: Container) -> Play:
    def play(
        tasks: str | None = None,
        *,
        files: tuple[InstanceFile, ...] = (),
        container: str | None = None,
        stop: Stop | None = None,
        heard: list[str] | None = None,
    ) -> str:
        """Run the tasks, or prepare.yml if there are none, in a new work folder."""
        work = tmp_path / f"work-{uuid.uuid4().hex[:8]}"
        work.mkdir()
        playbook = PLAYBOOKS / "prepare.yml"
        if tasks is not None:
            shutil.copy(PLAYBOOKS / "ansible.cfg", work)
            playbook = work / "tasks.yml"
            playbook.write_text(f"- hosts: all\n  gather_facts: false\n  tasks:\n{tasks}")
        return run_playbook(
            playbook,
            hosts={"instance": docker_connection(container or str(machine.name), HOST)},
            variables=prepare_variables(files),
            folder=work,
            stop=stop or Stop(60),
            sink=heard.append if heard is not None else lambda text: None,
        )

    return play


def raw(name: str, command: str) -> str:
    return f"  - name: {name}\n    ansible.builtin.raw: {command}\n"


def test_files_arrive_as_they_are_and_ansible_says_its_version(play: Play, machine: Container) -> None:
    heard: list[str] = []

    version = play(
        files=(
            InstanceFile("/etc/deep/new/folder/hostile.conf", HOSTILE),
            InstanceFile("/etc/secret", "key\n", "0600"),
            InstanceFile("/etc/empty", ""),
        ),
        heard=heard,
    )

    assert version.startswith("2.")
    assert content(machine, "/etc/deep/new/folder/hostile.conf").decode() == HOSTILE
    assert content(machine, "/etc/empty") == b""
    assert said(machine, ["stat", "-c", "%a", "/etc/secret", "/etc/empty"]).split() == [b"600", b"644"]
    assert machine.exec_run(["stat", "/pwned"]).exit_code != 0
    assert "Write files" in "".join(heard)


def test_a_file_longer_than_a_command_line_arrives_whole(play: Play, machine: Container) -> None:
    text = "".join(f"line {number} ä\n" for number in range(30_000))

    play(files=(InstanceFile("/etc/before", "1"), InstanceFile("/etc/long", text), InstanceFile("/etc/after", "2")))

    assert content(machine, "/etc/long").decode() == text
    assert content(machine, "/etc/before") + content(machine, "/etc/after") == b"12"


def test_a_failing_task_is_named_with_what_it_printed(play: Play) -> None:
    with pytest.raises(ProvisionFailed, match=r"ansible failed in tasks.yml \(exit code 2\)") as caught:
        play(raw("Fetch the key", "echo on its way; echo no such key >&2; exit 3") + raw("Never", "touch /never"))

    assert caught.value.details.startswith("Fetch the key:")
    assert "on its way" in caught.value.details
    assert "no such key" in caught.value.details
    assert caught.value.retryable


def test_a_machine_that_is_gone_is_told(play: Play) -> None:
    with pytest.raises(ProvisionFailed) as caught:
        play(container="alts-test-no-such-container")

    assert "alts-test-no-such-container" in caught.value.details


def test_a_playbook_that_is_wrong_is_told(play: Play) -> None:
    with pytest.raises(ProvisionFailed) as caught:
        play("  - no.such.module:\n")

    assert "no.such.module" in caught.value.details


def test_a_playbook_that_does_not_say_the_version_is_refused(play: Play) -> None:
    with pytest.raises(ProvisionFailed, match="does not show ansible_version"):
        play(raw("Nothing", "'true'"))


@pytest.mark.parametrize("how", ["cancel", "deadline"])
def test_a_stop_ends_it_at_once_with_all_its_processes(play: Play, tmp_path: Path, how: str) -> None:
    stop = Stop(60 if how == "cancel" else 2.5)
    if how == "cancel":
        threading.Timer(2.5, stop.request, [StopReason.CANCELLED]).start()
    started = time.monotonic()

    with pytest.raises(Stopped) as caught:
        play(raw("Hang", "sleep 60"), stop=stop)

    assert time.monotonic() - started < 5
    assert caught.value.reason is (StopReason.CANCELLED if how == "cancel" else StopReason.DEADLINE)
    assert no_process_in(tmp_path)


def test_a_stop_that_came_before_starts_nothing(play: Play, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        play(stop=Stop(0))

    assert [path.name for path in tmp_path.glob("work-*/*")] == []


def test_six_at_once_in_threads_do_not_disturb_each_other(play: Play, machine: Container) -> None:
    def one(number: int) -> str:
        return play(files=(InstanceFile(f"/etc/number{number}", str(number)),))

    with ThreadPoolExecutor(6) as pool:
        versions = set(pool.map(one, range(6)))

    assert len(versions) == 1
    assert [content(machine, f"/etc/number{number}") for number in range(6)] == [b"0", b"1", b"2", b"3", b"4", b"5"]


def test_the_worker_is_as_it_was_and_its_secrets_are_in_no_file(play: Play, tmp_path: Path) -> None:
    root_level, handlers = logging.getLogger().level, list(logging.getLogger().handlers)
    environment, folder, interrupt = dict(os.environ), Path.cwd(), signal.getsignal(signal.SIGINT)
    home = set(Path.home().iterdir())

    play()

    assert (logging.getLogger().level, logging.getLogger().handlers) == (root_level, handlers)
    assert (dict(os.environ), Path.cwd(), signal.getsignal(signal.SIGINT)) == (environment, folder, interrupt)
    assert set(Path.home().iterdir()) == home
    written = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    # pytest's own variable represents the worker's environment.
    assert "PYTEST_CURRENT_TEST" in os.environ
    assert "PYTEST_CURRENT_TEST" not in written
