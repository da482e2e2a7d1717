"""Log lines for people: the constant message, then the facts as key=value."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Final

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


class FactsFormatter(logging.Formatter):
    """Adds what was given as `extra` to the line, sorted by name; Celery's own extras are left out."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        line = super().formatMessage(record)
        facts = (
            f"{key}={value}" for key, value in sorted(vars(record).items()) if key not in _STANDARD and key != "data"
        )
        return " ".join([line, *facts])


def log_to_stderr(level: int | str = logging.INFO) -> None:
    """Set up logging for a process that a service manager watches."""
    _log_to(logging.StreamHandler(sys.stderr), level)


def log_to_file(path: Path, level: int | str = logging.INFO) -> None:
    """Set up logging for a process whose terminal is for people. The file is started anew."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _log_to(logging.FileHandler(path, mode="w", encoding="utf-8"), level)


def _log_to(handler: logging.Handler, level: int | str) -> None:
    handler.setFormatter(FactsFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # Chatty libraries speak from WARNING on.
    for name in ("botocore", "boto3", "urllib3", "s3transfer", "amqp", "docker", "httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
