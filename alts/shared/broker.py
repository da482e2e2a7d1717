"""The message broker: queues with their arguments, Celery's settings, and invitations.

RabbitMQ refuses to declare a queue again with other arguments (406 PRECONDITION_FAILED), so queues are declared here
only, for the scheduler and the workers alike.
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

from alts.shared import memory_broker
from alts.shared.config import Config
from alts.shared.errors import BrokerUnavailable, UnknownQueue
from alts.shared.models.routing import queues_of

TASK_NAME = "alts.run"
"""Name of the only Celery task. Its argument is a task id: an invitation to claim that task."""

DEAD_LETTER_QUEUE = "alts-dead"
# Deliveries before RabbitMQ moves a message that kills its consumers to the dead-letter queue. The ledger sends a new
# invitation when it is due (resend_after).
DELIVERY_LIMIT = 5

# kombu wraps only errors that it thinks recoverable. A refused login, or a queue with other arguments, is an AMQPError.
_BROKER_TROUBLE = (KombuError, AMQPError, OSError)

_EXCHANGE = Exchange("alts", type="direct", durable=True)
_DEAD_LETTER_EXCHANGE = Exchange("alts-dead", type="fanout", durable=True)


def task_queue(name: str) -> Queue:
    """Return a durable quorum queue. After DELIVERY_LIMIT deliveries a message goes to the dead-letter queue."""
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
    """Return the queue for messages that reached DELIVERY_LIMIT."""
    return Queue(DEAD_LETTER_QUEUE, _DEAD_LETTER_EXCHANGE, durable=True, queue_arguments={"x-queue-type": "quorum"})


class DeclareDeadLetterQueue(bootsteps.StartStopStep):  # type: ignore[misc]  # celery is untyped
    """Step of a Celery worker's start. Without the queue RabbitMQ would silently drop messages at DELIVERY_LIMIT."""

    requires = ("celery.worker.consumer.connection:Connection",)

    def start(self, consumer: Consumer) -> None:
        """Declare the queue whenever the worker connects."""
        with consumer.connection.channel() as channel:
            dead_letter_queue()(channel).declare()


def broker_url(config: Config) -> str:
    """Return the broker's URL, e.g. "amqp://alts:<password>@localhost:5672/%2F". It must not be logged."""
    if config.broker == "memory":
        return f"{memory_broker.NAME}://localhost"
    user, password, vhost = (
        quote(part, safe="")
        for part in (config.rabbitmq_user, config.rabbitmq_password.get_secret_value(), config.rabbitmq_vhost)
    )
    return f"amqp://{user}:{password}@{config.rabbitmq_host}:{config.rabbitmq_port}/{vhost}"


def celery_app(config: Config, *, architectures: Iterable[str] | None = None) -> Celery:
    """Return a Celery application. A scheduler publishes with it; a worker consumes the queues of `architectures`."""
    memory_broker.install()
    app = Celery("alts", broker=broker_url(config), set_as_current=False)
    app.conf.update(
        task_queues=[task_queue(name) for name in queues_of(config.runners, architectures)],
        task_create_missing_queues=False,
        task_serializer="json",
        accept_content=["json"],
        result_serializer="json",
        # Early acks: no broker setting gives "exactly once". The ledger's lease decides which worker runs a task. With
        # late acks a restart of the broker would only start the task a second time.
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
        return {}
    return {
        # By default kombu retries for 6 s and longer. The relay has its own retries (alts.shared.periodic).
        "broker_transport_options": {"confirm_publish": True, "max_retries": 1, "interval_start": 0.2},
        "broker_heartbeat": 30,
        "broker_connection_timeout": 4,
    }


def _result_settings(config: Config) -> dict[str, object]:
    """Return the settings of Celery's result backend: the artifact store, below results_root_directory."""
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
    """Publish an invitation to claim the task. Returns after the broker has confirmed it.

    Raises UnknownQueue if the configuration has no such queue, or BrokerUnavailable.
    """
    try:
        app.send_task(TASK_NAME, args=[task_id], task_id=task_id, queue=queue, retry=False, ignore_result=False)
    except QueueNotFound as error:
        raise UnknownQueue(f"no runner in the configuration serves the queue {queue}") from error
    except _BROKER_TROUBLE as error:
        raise BrokerUnavailable(f"the broker did not take a message: {_plain(error)}") from error


def check_broker(app: Celery, *, seconds: float) -> None:
    """Connect and disconnect within about `seconds`. Raises BrokerUnavailable."""
    try:
        with app.connection_for_write(connect_timeout=seconds) as connection:
            # Not connect(), which waits 2 s before its second try.
            connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
    except _BROKER_TROUBLE as error:
        raise BrokerUnavailable(f"the broker cannot be reached: {_plain(error)}") from error


def _plain(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
