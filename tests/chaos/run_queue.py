"""The queue of a run, reached past the service and past the broken network."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from amqp.exceptions import NotFound
from kombu.connection import Connection
from kombu.exceptions import OperationalError

from alts.shared.broker import DEAD_LETTER_QUEUE, broker_url, celery_app, send_invitation
from alts.shared.config import Config
from alts.shared.errors import BrokerUnavailable

QUEUE = "docker-x86_64-0"


class RunQueue:
    """The invitations of one run; the queue is made by the service itself."""

    def __init__(self, config: Config) -> None:
        """`config`: with the broker's own address."""
        self._config = config

    def messages(self) -> int:
        """Invitations that nobody has taken; 0 where there is no queue."""
        with self._connection() as connection, suppress(NotFound):
            return int(connection.default_channel.queue_declare(QUEUE, passive=True).message_count)
        return 0

    def purge(self) -> bool:
        """Lose every invitation that waits; False where the broker is away."""
        try:
            with self._connection() as connection:
                connection.default_channel.queue_purge(QUEUE)
        except NotFound:
            return True
        except OperationalError:
            return False
        return True

    def publish(self, task_ids: Iterable[str]) -> bool:
        """Invite once more; False where the broker is away."""
        try:
            with celery_app(self._config) as app:
                for task_id in task_ids:
                    send_invitation(app, task_id, QUEUE)
        except BrokerUnavailable:
            return False
        return True

    def delete(self) -> None:
        """So that the next run starts with none."""
        for name in (QUEUE, DEAD_LETTER_QUEUE):
            with self._connection() as connection:
                connection.default_channel.queue_delete(name)

    def _connection(self) -> Connection:
        return Connection(broker_url(self._config), connect_timeout=5)
