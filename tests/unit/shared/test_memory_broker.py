"""The broker in memory delivers at once, and sleeps while there is nothing to deliver."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from kombu.connection import Connection
from kombu.entity import Queue
from kombu.messaging import Consumer, Producer

from alts.shared import memory_broker
from alts.shared.broker import broker_url
from tests.support.builders import a_config

SOON = 20.0
PATIENCE = 15.0


@pytest.fixture
def queue() -> Queue:
    # The queues belong to the process.
    name = f"test-{uuid.uuid4().hex}"
    return Queue(name, routing_key=name)


@pytest.fixture
def connection() -> Iterator[Connection]:
    memory_broker.install()
    with Connection(broker_url(a_config())) as connection:
        yield connection


def send(connection: Connection, queue: Queue, body: str) -> None:
    with closing(connection.clone()) as own:
        Producer(own.channel()).publish(body, routing_key=queue.routing_key, declare=[queue])


class Listener:
    """A consumer in a thread. It counts how often its thread had a turn."""

    def __init__(self, connection: Connection, queue: Queue, *, prefetch: int = 0, patience: float = PATIENCE) -> None:
        """`prefetch`: messages that may be unacknowledged; 0 to acknowledge each one at once.

        `patience`: seconds after which it looks again without being woken.
        """
        self.heard: list[Any] = []
        self.turns = 0
        self._waiting: list[Any] = []
        self._ready, self._end = threading.Event(), threading.Event()
        self._connection, self._queue, self._prefetch, self._patience = connection, queue, prefetch, patience
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Listener:
        self._thread.start()
        assert self._ready.wait(SOON)
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        # It wakes for one more message.
        send(self._connection, self._queue, "end")
        self._thread.join(SOON)
        assert not self._thread.is_alive()

    def acknowledge(self) -> None:
        """Acknowledge from another thread, as a pool's thread does."""
        self._waiting.pop(0).ack()

    def _take(self, body: Any, message: Any) -> None:
        self.heard.append(body)
        if self._prefetch:
            self._waiting.append(message)
        else:
            message.ack()

    def _run(self) -> None:
        with Consumer(self._connection, [self._queue], callbacks=[self._take], auto_declare=True) as consumer:
            consumer.qos(prefetch_count=self._prefetch)
            self._ready.set()
            while not self._end.is_set():
                try:
                    self._connection.drain_events(timeout=self._patience)
                except TimeoutError:
                    self.turns += 1


def heard(listener: Listener, count: int) -> float:
    """Wait for that many messages. Return the seconds."""
    begun = time.monotonic()
    while len(listener.heard) < count:
        assert time.monotonic() - begun < SOON
        time.sleep(0.001)
    return time.monotonic() - begun


def test_a_message_is_delivered_at_once(connection: Connection, queue: Queue) -> None:
    with Listener(connection, queue) as listener:
        for number in range(5):
            send(connection, queue, str(number))
            assert heard(listener, number + 1) < PATIENCE / 2

    assert listener.heard[:5] == list("01234")


def test_messages_that_were_there_before_are_delivered(connection: Connection, queue: Queue) -> None:
    for word in ("one", "two"):
        send(connection, queue, word)

    with Listener(connection, queue) as listener:
        heard(listener, 2)

    assert listener.heard[:2] == ["one", "two"]


def test_an_acknowledgement_from_another_thread_makes_room_at_once(connection: Connection, queue: Queue) -> None:
    for word in ("one", "two"):
        send(connection, queue, word)
    with Listener(connection, queue, prefetch=1) as listener:
        heard(listener, 1)
        time.sleep(0.05)
        assert listener.heard == ["one"]

        listener.acknowledge()

        assert heard(listener, 2) < PATIENCE / 2
        listener.acknowledge()


def test_an_idle_consumer_sleeps(connection: Connection, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    get: Any = memory_broker.Channel._get

    def count(*arguments: Any, **kwargs: Any) -> Any:
        nonlocal looks
        looks += 1
        return get(*arguments, **kwargs)

    monkeypatch.setattr(memory_broker.Channel, "_get", count)
    with Listener(connection, queue, patience=0.3) as listener:
        before = time.monotonic()
        while listener.turns < 2:
            time.sleep(0.01)
        assert time.monotonic() - before >= 0.3

    # Two for each of its turns, and a few while it began. An interval of 10 ms would be a hundred.
    assert looks < 20
