"""alts.shared.broker against a real RabbitMQ: the queues and the delivery of messages."""

from __future__ import annotations

import json
import secrets
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery
from kombu.connection import Connection
from kombu.entity import Queue
from kombu.message import Message

from alts.shared.broker import (
    DEAD_LETTER_QUEUE,
    DELIVERY_LIMIT,
    TASK_NAME,
    celery_app,
    dead_letter_queue,
    send_invitation,
    task_queue,
)
from alts.shared.config import Config
from alts.shared.config_file import parse_config
from tests.support.rabbitmq import PrivateRabbitMQ

pytestmark = pytest.mark.services

QUEUE = "docker-x86_64-0"
TASKS = task_queue(QUEUE)
DEAD = dead_letter_queue()
QUEUES = (DEAD, TASKS)


@pytest.fixture
def config(rabbitmq: PrivateRabbitMQ, tmp_path: Path) -> Config:
    return parse_config(
        {"jwt_secret": secrets.token_hex(32), "storage": "folder", "storage_folder": str(tmp_path), **rabbitmq.config}
    )


@pytest.fixture
def app(config: Config) -> Iterator[Celery]:
    with celery_app(config) as app:
        yield app


@pytest.fixture
def connection(app: Celery) -> Iterator[Connection]:
    """Yield a connection to a broker with empty queues."""
    with app.connection_for_write() as connection:
        _empty_the_queues(connection)
        yield connection
        _empty_the_queues(connection)


def _empty_the_queues(connection: Connection) -> None:
    # Purge instead of delete: Celery shares connections between apps, and each remembers its declarations.
    for queue in QUEUES:
        bound = queue.bind(connection.default_channel)
        bound.declare()
        bound.purge()


def _next(connection: Connection, queue: Queue, *, seconds: float = 10.0) -> Message:
    """Return the next message, unacknowledged. Take no other message."""
    bound = queue.bind(connection.default_channel)
    deadline = time.monotonic() + seconds
    while (message := bound.get()) is None:
        assert time.monotonic() < deadline, f"nothing came to {queue.name}"
        time.sleep(0.05)
    taken: Message = message
    return taken


def test_an_invitation_arrives_with_the_task_id_alone(app: Celery, connection: Connection) -> None:
    task_id = str(uuid.uuid4())

    send_invitation(app, task_id, QUEUE)

    message = _acknowledged(_next(connection, TASKS))
    assert message.headers["task"] == TASK_NAME
    assert message.headers["id"] == task_id
    arguments, keywords, _ = json.loads(message.body)
    assert (arguments, keywords) == ([task_id], {})


def test_both_sides_declare_the_same_queues(app: Celery, connection: Connection, config: Config) -> None:
    send_invitation(app, str(uuid.uuid4()), QUEUE)

    with celery_app(config, architectures=("x86_64",)) as worker, worker.connection_for_read() as reading:
        for queue in worker.amqp.queues.consume_from.values():
            queue.bind(reading.default_channel).declare()  # RabbitMQ refuses a differing declaration: 406

        assert list(worker.amqp.queues.consume_from) == [QUEUE]


@pytest.mark.usefixtures("connection")
def test_the_queues_are_durable_quorum_queues(rabbitmq: PrivateRabbitMQ) -> None:
    queues = {queue["name"]: queue for queue in json.loads(rabbitmq.ctl("list_queues", "name", "type", "durable"))}

    for name in (QUEUE, DEAD_LETTER_QUEUE):
        assert queues[name]["type"] == "quorum", name
        assert queues[name]["durable"], name


def test_a_message_that_kills_its_consumers_is_put_aside(app: Celery, connection: Connection) -> None:
    task_id = str(uuid.uuid4())
    send_invitation(app, task_id, QUEUE)

    for _ in range(DELIVERY_LIMIT + 1):
        _deliver_to_a_consumer_that_dies(app)

    dead = _acknowledged(_next(connection, DEAD))
    assert dead.headers["id"] == task_id
    assert dead.headers["x-death"][0]["reason"] == "delivery_limit"


def _deliver_to_a_consumer_that_dies(app: Celery) -> None:
    """Take the message and disconnect without acknowledging it, as a killed process does."""
    with app.connection_for_read() as connection:
        _next(connection, TASKS)


def test_two_hundred_invitations_are_all_confirmed_and_all_there(app: Celery, connection: Connection) -> None:
    wanted = {str(uuid.uuid4()) for _ in range(200)}
    for task_id in wanted:
        send_invitation(app, task_id, QUEUE)

    seen = {_acknowledged(_next(connection, TASKS)).headers["id"] for _ in wanted}

    assert seen == wanted


def _acknowledged(message: Message) -> Message:
    message.ack()
    return message
