"""The scheduler's entry: `uvicorn scheduler.app:app`."""

from __future__ import annotations

import os
import sys

from fastapi import FastAPI

from alts.shared.config_file import config_path, load_config
from alts.shared.errors import AltsError, ConfigurationError
from alts.shared.logs import log_to_stderr
from alts.shared.models.consent import Consent
from scheduler.api.application import create_app
from scheduler.composition import build_services

WRONG_CONFIGURATION = 2


def load_app() -> FastAPI:
    """Build the application from the configuration file.

    Raises ConfigurationError, AlreadyRunning or LedgerUnavailable.
    """
    config = load_config(config_path())
    if config.embedded:
        raise ConfigurationError(
            "broker",
            "memory cannot reach workers in other processes",
            resolution="start everything with: alts run",
        )
    return create_app(build_services(config, Consent.of(os.environ)))


def _app_or_exit() -> FastAPI:
    log_to_stderr()
    try:
        return load_app()
    except AltsError as error:
        sys.stderr.write(f"alts: {error}\n")
        sys.exit(WRONG_CONFIGURATION)


app = _app_or_exit()
