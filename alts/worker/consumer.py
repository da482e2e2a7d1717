"""Whether a running Celery worker takes messages off its queues: turned off where it could only decline them."""

from __future__ import annotations

from collections.abc import Sequence

from celery.worker.consumer import Consumer


class Consuming:
    """Turns the taking of messages on and off, from any thread; what is prefetched already still comes.

    The queues are cancelled at the broker, and stay so over a reconnect (celery.worker.consumer.Consumer).
    """

    def __init__(self, queues: Sequence[str]) -> None:
        self._queues = tuple(queues)
        self._consumer: Consumer | None = None
        self._wanted = True

    def attach(self, consumer: Consumer) -> None:
        """Celery has its consumer, or has a new one."""
        self._consumer = consumer
        self.want(self._wanted)

    def want(self, wanted: bool) -> None:
        """Take messages, or leave them; what was said last counts."""
        self._wanted = wanted
        if self._consumer is not None:
            # A broker's connection belongs to the consumer's own thread.
            self._consumer.call_soon(self._apply)

    def _apply(self) -> None:
        consumer = self._consumer
        if consumer is None or consumer.task_consumer is None:
            return
        for queue in self._queues:
            taken = consumer.task_consumer.consuming_from(queue)
            if self._wanted and not taken:
                consumer.add_task_queue(queue)
            elif not self._wanted and taken:
                consumer.cancel_task_queue(queue)
