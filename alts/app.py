"""Worker entry: `celery -A alts.app worker --pool=threads --concurrency=10`."""

from __future__ import annotations

import sys

from celery import Celery

from alts.shared.config_file import config_path, load_config
from alts.shared.errors import ConfigurationError
from alts.worker.composition import create_worker_app


def _configured_app() -> Celery:
    try:
        config = load_config(config_path())
        if config.embedded:
            sys.exit("alts: broker: memory does not reach other processes; use `alts run`, or broker: rabbitmq")
        return create_worker_app(config)
    except ConfigurationError as error:
        sys.exit(f"alts: {error}")


app = _configured_app()
