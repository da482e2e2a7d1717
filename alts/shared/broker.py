"""The queue, as both sides must see it: one definition of queues, arguments and Celery settings.

RabbitMQ refuses a queue declared twice with other arguments (406 PRECONDITION_FAILED), so nobody else declares one.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

from amqp.exceptions import AMQPError
from celery import Celery, bootsteps
from celery.exceptions import QueueNotFound
from celery.worker.consumer import Consumer
from kombu.entity import Exchange, Queue
from kombu.exceptions import KombuError

from alts.shared.config import Config
from alts.shared.errors import BrokerUnavailable, UnknownQueue
from alts.shared.models.routing import queues_of

TASK_NAME = "alts.run"
"""The one Celery task: come and claim the task of this id."""

DEAD_LETTER_QUEUE = "alts-dead"
# A message that has killed its consumer this often is put aside; the ledger sends a fresh one when it is due.
DELIVERY_LIMIT = 5

# kombu wraps only what it thinks recoverable: a refused login or a queue declared otherwise comes as amqp's own error.
_BROKER_TROUBLE = (KombuError, AMQPError, OSError)

_EXCHANGE = Exchange("alts", type="direct", durable=True)
_DEAD_LETTER_EXCHANGE = Exchange("alts-dead", type="fanout", durable=True)


def task_queue(name: str) -> Queue:
    """A durable quorum queue whose poison messages end in the dead-letter queue."""
    return Queue(
        name,
        _EXCHANGE,
        routing_key=name,
        durable=True,
        queue_arguments={
            "x-queue-type": "quorum",
            "x-delivery-limit": DELIVERY_LIMIT,
            "x-dead-letter-exchange": _DEAD_LETTER_EXCHANGE.name,
        },
    )


def dead_letter_queue() -> Queue:
    """Where messages go that no worker survived."""
    return Queue(DEAD_LETTER_QUEUE, _DEAD_LETTER_EXCHANGE, durable=True, queue_arguments={"x-queue-type": "quorum"})


class DeclareDeadLetterQueue(bootsteps.StartStopStep):  # type: ignore[misc]  # celery is untyped
    """A step of a worker's start: without the queue the broker would drop poison messages without a word."""

    requires = ("celery.worker.consumer.connection:Connection",)

    def start(self, consumer: Consumer) -> None:
        with consumer.connection.channel() as channel:
            dead_letter_queue()(channel).declare()


def broker_url(config: Config) -> str:
    """The address with the password in it: never log it."""
    if config.broker == "memory":
        return "memory://"
    user, password, vhost = (
        quote(part, safe="")
        for part in (config.rabbitmq_user, config.rabbitmq_password.get_secret_value(), config.rabbitmq_vhost)
    )
    return f"amqp://{user}:{password}@{config.rabbitmq_host}:{config.rabbitmq_port}/{vhost}"


def celery_app(config: Config, *, architectures: Iterable[str] | None = None) -> Celery:
    """The Celery application: a scheduler publishes with it, a worker consumes the queues of `architectures`."""
    app = Celery("alts", broker=broker_url(config), set_as_current=False)
    app.conf.update(
        task_queues=[task_queue(name) for name in queues_of(config.runners, architectures)],
        task_create_missing_queues=False,
        task_serializer="json",
        accept_content=["json"],
        result_serializer="json",
        # Early acks: no setting of a broker gives "exactly once". The ledger's lease decides who runs a task; late
        # acks would only run it a second time after a restart of the broker.
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        worker_detect_quorum_queues=True,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        task_track_started=False,
        **_transport_settings(config),
        **_result_settings(config),
    )
    if config.broker == "rabbitmq":
        app.steps["consumer"].add(DeclareDeadLetterQueue)
    return app


def _transport_settings(config: Config) -> dict[str, object]:
    if config.broker == "memory":
        return {"broker_transport_options": {"polling_interval": 0.01}}
    return {
        # kombu itself retries for 6 s and more; the publisher has a better plan: try later.
        "broker_transport_options": {"confirm_publish": True, "max_retries": 1, "interval_start": 0.2},
        "broker_heartbeat": 30,
        "broker_connection_timeout": 4,
    }


def _result_settings(config: Config) -> dict[str, object]:
    """Where Celery keeps the summaries that the task returns: next to the artifacts, in a folder of their own."""
    if config.storage == "folder":
        folder = config.storage_folder.absolute() / config.results_root_directory
        folder.mkdir(parents=True, exist_ok=True)
        return {"result_backend": f"file://{folder}", "result_expires": None}
    return {
        "result_backend": "s3",
        "s3_access_key_id": config.s3_access_key_id,
        "s3_secret_access_key": config.s3_secret_access_key.get_secret_value(),
        "s3_bucket": config.s3_bucket,
        "s3_base_path": config.results_root_directory.strip("/") + "/",
        "s3_region": config.s3_region,
        "s3_endpoint_url": config.s3_endpoint_url,
        "result_expires": None,
    }


def send_invitation(app: Celery, task_id: str, queue: str) -> None:
    """Publish "come and claim this task", confirmed by the broker.

    Raises BrokerUnavailable where the broker does not take it, UnknownQueue where the configuration has no such queue.
    """
    try:
        app.send_task(TASK_NAME, args=[task_id], task_id=task_id, queue=queue, retry=False, ignore_result=False)
    except QueueNotFound as error:
        raise UnknownQueue(f"no runner of the configuration listens on {queue}") from error
    except _BROKER_TROUBLE as error:
        raise BrokerUnavailable(f"the broker did not take a message: {_plain(error)}") from error


def check_broker(app: Celery, *, seconds: float) -> None:
    """Connect and leave again, within about `seconds`. Raises BrokerUnavailable."""
    try:
        with app.connection_for_write(connect_timeout=seconds) as connection:
            # Not connect(): it waits two seconds before its second try.
            connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
    except _BROKER_TROUBLE as error:
        raise BrokerUnavailable(f"the broker cannot be reached: {_plain(error)}") from error


def _plain(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
