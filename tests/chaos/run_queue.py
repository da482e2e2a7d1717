"""The queue of a run, accessed past the service and the broken network."""

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
    """The invitations of one run. The service itself makes the queue."""

    def __init__(self, config: Config) -> None:
        """`config` has the broker's own address."""
        self._config = config

    def messages(self) -> int:
        """Count the waiting invitations; 0 if there is no queue."""
        with self._connection() as connection, suppress(NotFound):
            return int(connection.default_channel.queue_declare(QUEUE, passive=True).message_count)
        return 0

    def purge(self) -> bool:
        """Remove all waiting invitations. Return False if the broker is away."""
        try:
            with self._connection() as connection:
                connection.default_channel.queue_purge(QUEUE)
        except NotFound:
            return True
        except OperationalError:
            return False
        return True

    def publish(self, task_ids: Iterable[str]) -> bool:
        """Send the invitations once more. Return False if the broker is away."""
        try:
            with celery_app(self._config) as app:
                for task_id in task_ids:
                    send_invitation(app, task_id, QUEUE)
        except BrokerUnavailable:
            return False
        return True

    def delete(self) -> None:
        """Delete the queue, so the next run starts without messages."""
        for name in (QUEUE, DEAD_LETTER_QUEUE):
            with self._connection() as connection:
                connection.default_channel.queue_delete(name)

    def _connection(self) -> Connection:
        return Connection(broker_url(self._config), connect_timeout=5)
