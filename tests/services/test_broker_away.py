"""The service with a RabbitMQ that is unreachable or refuses the login."""

from __future__ import annotations

import secrets
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from alts.shared.broker import celery_app, check_broker, send_invitation, task_queue
from alts.shared.config_file import parse_config
from alts.shared.errors import BrokerUnavailable
from tests.support.ports import free_ports
from tests.support.rabbitmq import PrivateRabbitMQ

pytestmark = pytest.mark.services

QUEUE = "docker-x86_64-0"


def an_app(folder: Path, rabbitmq: PrivateRabbitMQ, **changes: Any) -> Celery:
    data = {"jwt_secret": secrets.token_hex(32), "storage": "folder", "storage_folder": str(folder)}
    return celery_app(parse_config({**data, **rabbitmq.config, **changes}))


def test_a_broker_that_answers_passes_the_check(tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> None:
    with an_app(tmp_path, rabbitmq) as app:
        check_broker(app, seconds=5)


def test_a_broker_that_is_away_is_noticed_at_once(tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> None:
    (nobody,) = free_ports(1)

    with an_app(tmp_path, rabbitmq, rabbitmq_port=nobody) as app:
        begun = time.monotonic()
        with pytest.raises(BrokerUnavailable):
            send_invitation(app, str(uuid.uuid4()), QUEUE)
        assert time.monotonic() - begun < 2

        with pytest.raises(BrokerUnavailable):
            check_broker(app, seconds=1)


def test_a_restart_costs_no_invitation_and_the_publisher_finds_its_way_back(tmp_path: Path) -> None:
    before, after = str(uuid.uuid4()), str(uuid.uuid4())

    with PrivateRabbitMQ() as own, an_app(tmp_path, own) as app:
        send_invitation(app, before, QUEUE)
        own.stop()
        with pytest.raises(BrokerUnavailable):
            send_invitation(app, after, QUEUE)
        own.start()
        send_invitation(app, after, QUEUE)

        assert _invitations(app, count=2) == [before, after]


def _invitations(app: Celery, *, count: int) -> list[str]:
    """Return the task ids of the next `count` messages."""
    found: list[str] = []
    deadline = time.monotonic() + 30  # a quorum queue elects a leader before it delivers
    with app.connection_for_read() as connection:
        queue = task_queue(QUEUE).bind(connection.default_channel)
        while len(found) < count and time.monotonic() < deadline:
            if (message := queue.get(no_ack=True)) is None:
                time.sleep(0.1)
            else:
                found.append(message.headers["id"])
    return found


def test_a_wrong_password_is_no_secret_in_the_error(tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> None:
    password = secrets.token_hex(16)

    with an_app(tmp_path, rabbitmq, rabbitmq_password=password) as app, pytest.raises(BrokerUnavailable) as refusal:
        check_broker(app, seconds=5)

    assert password not in str(refusal.value)


def test_a_private_rabbitmq_leaves_neither_process_nor_folder() -> None:
    with PrivateRabbitMQ() as server:
        folder = server.folder
        assert _processes_of(folder)

    assert _processes_of(folder) == []
    assert not folder.exists()


def _processes_of(folder: Path) -> list[str]:
    """Return the command lines of processes whose environment contains the folder."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            if str(folder).encode() in environment.read_bytes():
                found.append(environment.with_name("cmdline").read_text())
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it has ended, or belongs to another user
    return found
