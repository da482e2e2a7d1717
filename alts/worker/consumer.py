"""Switches Celery's consumption of messages on and off: a worker that could only decline leaves them in the queue."""

from __future__ import annotations

from collections.abc import Sequence

from celery.worker.consumer import Consumer


class Consuming:
    """The switch of one Celery worker. Any thread may use it. Messages that are prefetched already still arrive.

    Off means that the queues are cancelled at the broker; they stay cancelled over a reconnect
    (celery.worker.consumer.Consumer).
    """

    def __init__(self, queues: Sequence[str]) -> None:
        self.queues = tuple(queues)
        self._consumer: Consumer | None = None
        self._wanted = True

    @property
    def slots(self) -> int | None:
        """Number of tasks that Celery runs at once; None before attach()."""
        return None if self._consumer is None else self._consumer.pool.limit

    def attach(self, consumer: Consumer) -> None:
        """Use Celery's consumer from now on. It lasts through reconnects; only its task_consumer is made anew."""
        self._consumer = consumer
        self.want(self._wanted)

    def want(self, wanted: bool) -> None:
        """Switch consumption on or off. The last call counts, also for consumers attached later."""
        self._wanted = wanted
        if self._consumer is not None:
            # Only the consumer's own thread may use its broker connection.
            self._consumer.call_soon(self._apply)

    def _apply(self) -> None:
        consumer = self._consumer
        if consumer is None or consumer.task_consumer is None:
            return
        for queue in self.queues:
            taken = consumer.task_consumer.consuming_from(queue)
            if self._wanted and not taken:
                consumer.add_task_queue(queue)
            elif not self._wanted and taken:
                consumer.cancel_task_queue(queue)
