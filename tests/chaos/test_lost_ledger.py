"""The service is killed and loses its ledger: real processes, asked over HTTP."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml

from alts.shared.config_file import load_config
from scheduler.composition import build_services
from tests.support.builders import SECRET, a_spec
from tests.support.checkout import ROOT
from tests.support.forked import ForkedModule
from tests.support.ports import answers, free_ports
from tests.support.scheduler_parts import QUEUE, bearer
from tests.support.stack import until
from tests.unit.scheduler.ledger.test_guard import HARM, bring_in_log, damage, page_of, remove, remove_log

pytestmark = pytest.mark.services

BODY = {"dist_name": "debian", "dist_version": "12", "dist_arch": "x86_64", "package_name": "hello"}


@dataclass(frozen=True)
class Place:
    """A scheduler's folders."""

    folder: Path

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger" / "ledger.sqlite"

    @property
    def log(self) -> Path:
        """The output of the last scheduler."""
        return self.folder / "scheduler.log"

    def config(self, **changes: str) -> Path:
        path = self.folder / "config.yaml"
        settings = {
            "jwt_secret": SECRET,
            "rabbitmq_password": "unused",
            "rabbitmq_host": "127.0.0.1",
            "rabbitmq_port": 1,
            "storage": "folder",
            "storage_folder": f"{self.folder}/storage",
            "work_folder": f"{self.folder}/work",
            "state_folder": f"{self.folder}/state",
            "database_url": f"sqlite:///{self.ledger}",
            **changes,
        }
        path.write_text(yaml.safe_dump(settings))
        return path

    def start(self, environment: Mapping[str, str] | None = None) -> tuple[ForkedModule, str]:
        """Return the scheduler and its address."""
        [port] = free_ports(1)
        argv = ["uvicorn", "scheduler.app:app", "--host", "127.0.0.1", "--port", str(port), "--http", "h11"]
        env = {**os.environ, "ALTS_CONFIG": str(self.config()), **(environment or {})}
        self.log.write_text("")
        return ForkedModule(argv, env=env, cwd=ROOT, log=self.log), f"http://127.0.0.1:{port}"

    @contextmanager
    def serving(
        self, environment: Mapping[str, str] | None = None, *, in_order: bool = False
    ) -> Iterator[httpx.Client]:
        """Kill it with -9 at the end of the `with`, or end it cleanly if `in_order`."""
        process, url = self.start(environment)
        try:
            until(lambda: answers(int(url.rpartition(":")[2])) or process.poll(), seconds=60)
            assert process.poll() is None, "the scheduler did not start"
            with httpx.Client(base_url=url, headers=bearer(), timeout=20, trust_env=False) as client:
                yield client
            if in_order:
                process.send_signal(signal.SIGTERM)
                process.wait(30)
        finally:
            process.kill()
            process.wait(30)

    def refusal(self) -> str:
        """Return the output of a scheduler that does not start."""
        process, _ = self.start()
        exit_code = process.wait(60)
        printed = self.log.read_text()
        assert exit_code == 2, printed
        assert printed.count("\n") == 1, printed
        return printed


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def accepted(client: httpx.Client, count: int = 5) -> list[str]:
    return [client.post("/tasks/schedule", json=BODY).raise_for_status().json()["task_id"] for _ in range(count)]


def statuses(client: httpx.Client, ids: list[str]) -> set[int]:
    return {client.get(f"/tasks/{task_id}").status_code for task_id in ids}


# The others take the same way: test_guard.py tells all of them apart.
BRIEF = (remove,)
HARMS = [
    pytest.param(harm, words, id=harm.__name__, marks=() if harm in BRIEF else pytest.mark.long) for harm, words in HARM
]


@pytest.mark.parametrize(("harm", "words"), HARMS)
def test_a_start_without_the_ledger_ends_with_2_and_says_how_to_go_on(
    place: Place, harm: Callable[[Path], None], words: str
) -> None:
    with place.serving() as client:
        ids = accepted(client)
    saved = place.folder / "saved"
    shutil.copytree(place.ledger.parent, saved)
    harm(place.ledger)

    said = place.refusal()

    assert str(place.ledger) in said
    assert re.search(words, said)
    # With the restored ledger it starts.
    broken = place.folder / "broken"
    place.ledger.parent.rename(broken)
    shutil.copytree(saved, place.ledger.parent)
    with place.serving() as client:
        assert statuses(client, ids) == {200}


def test_told_so_it_begins_anew_and_the_word_is_good_for_once(place: Place) -> None:
    with place.serving() as client:
        ids = accepted(client)
    remove(place.ledger)
    code = place.refusal().partition("ALTS_NEW_LEDGER=")[2].split()[0]

    with place.serving({"ALTS_NEW_LEDGER": code}) as client:
        assert statuses(client, ids) == {404}
        new = accepted(client, 1)
    with place.serving({"ALTS_NEW_LEDGER": code}) as client:
        assert statuses(client, new) == {200}


def test_a_service_that_is_killed_again_and_again_is_let_go_on(place: Place) -> None:
    ids: list[str] = []
    for _ in range(2):
        with place.serving() as client:
            ids += accepted(client)
            assert statuses(client, ids) == {200}


def test_an_old_copy_ends_with_2_until_it_is_accepted(place: Place) -> None:
    with place.serving() as client:
        ids = accepted(client)
    bring_in_log(place.ledger)
    shutil.copy(place.ledger, place.folder / "copy")
    with place.serving() as client:
        later = accepted(client)
    remove_log(place.ledger)
    shutil.copy(place.folder / "copy", place.ledger)

    said = place.refusal()

    code = said.partition("ALTS_ACCEPT_LEDGER=")[2].split()[0]
    with place.serving({"ALTS_ACCEPT_LEDGER": code}) as client:
        assert statuses(client, ids) == {200}
        assert statuses(client, later) == {404}


def test_pages_that_went_bad_while_it_was_stopped_are_said_by_health_and_by_the_next_start(place: Place) -> None:
    with place.serving(in_order=True) as client:
        ids = accepted(client, 3)
    bring_in_log(place.ledger)
    damage(place.ledger, page_of(place.ledger, "history_by_task"))

    with place.serving() as client:
        answers = [client.get(f"/tasks/{task_id}/history") for task_id in ids]
        # An answer of /health serves for a second.
        health = until(lambda: one if (one := client.get("/health")).status_code == 503 else None, seconds=10)

    assert {answer.status_code for answer in answers} == {503}
    assert "the ledger is damaged: database disk image is malformed" in answers[0].json()["detail"]
    assert "the ledger is damaged" in health.json()["parts"]["ledger"]["detail"]
    assert f"the ledger {place.ledger} is damaged" in place.refusal()


@pytest.mark.parametrize("lost", [pytest.param("gone", marks=pytest.mark.long), "pages that the start does not read"])
def test_alts_run_ends_with_2_and_the_reason_itself(place: Place, lost: str) -> None:
    config = place.config(broker="memory")
    services = build_services(load_config(config))
    services.ledger.tasks.add(a_spec(), queue=QUEUE, submitted_by="")
    services.close()
    if lost == "gone":
        remove(place.ledger)
    else:
        for index in ("tasks_by_lease", "tasks_by_resend"):
            damage(place.ledger, page_of(place.ledger, index))

    done = alts_run(config, place.folder)

    assert done.returncode == 2
    if lost == "gone":
        [said] = done.stderr.splitlines()
        assert "is missing" in said
    else:
        assert "the service answered 503: the ledger is damaged: database disk image is malformed" in done.stdout
    # The next start reads every page and names the ways to go on.
    again = alts_run(config, place.folder)
    assert again.returncode == 2
    assert str(place.ledger) in again.stderr
    assert "--new-ledger" in again.stderr
    # With consent the start gets past the ledger, as far as the port, which the test holds.
    assert "cannot listen" in alts_run(config, place.folder, "--new-ledger").stderr


def alts_run(config: Path, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1]) if more else str(free_ports(1)[0])
        return subprocess.run(
            [
                *(sys.executable, "-m", "alts.cli.main", "run", "--config", str(config), "--port", port, "--once"),
                *("--log-file", str(folder / "alts.log"), *more),
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
