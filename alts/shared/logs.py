"""Log lines for people: time, level, logger and message, then facts as key=value, sorted by key.

A line's facts are what the call passes as `extra`, and what structlog.contextvars.bound_contextvars has bound in the
calling context, e.g. the task and the attempt. A new thread has no context: start it with
`contextvars.copy_context().run` if it works for one attempt.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Final

from structlog.contextvars import merge_contextvars
from structlog.stdlib import ExtraAdder, ProcessorFormatter
from structlog.typing import EventDict, WrappedLogger

_LINE: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
# ExtraAdder takes every attribute of a record that makeLogRecord() has not set: "message" and "asctime" come from
# another handler's formatter, "exc_info" and "stack_info" from ProcessorFormatter, "color_message" from uvicorn and
# "data" from Celery.
_NO_FACTS: Final = frozenset({"message", "asctime", "exc_info", "stack_info", "color_message", "data"})


def line_formatter() -> ProcessorFormatter:
    """Return a formatter for records of the standard library's loggers. A traceback follows the line."""
    return ProcessorFormatter(
        processors=[ProcessorFormatter.remove_processors_meta, _line],
        foreign_pre_chain=[ExtraAdder(), merge_contextvars],
        keep_exc_info=True,
        keep_stack_info=True,
        fmt=_LINE,
    )


def log_to_stderr(level: int | str = logging.INFO) -> None:
    """Configure the root logger for a process that a service manager watches."""
    _log_to(logging.StreamHandler(sys.stderr), level)


def log_to_file(path: Path, level: int | str = logging.INFO) -> None:
    """Configure the root logger for a process whose terminal is for people. Truncates the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _log_to(logging.FileHandler(path, mode="w", encoding="utf-8"), level)


def _log_to(handler: logging.Handler, level: int | str) -> None:
    handler.setFormatter(line_formatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # These libraries log every request at INFO or DEBUG.
    for name in ("botocore", "boto3", "urllib3", "s3transfer", "amqp", "docker", "httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _line(_logger: WrappedLogger, _level: str, event: EventDict) -> str:
    message = str(event.pop("event"))
    return " ".join([message, *(f"{key}={value}" for key, value in sorted(event.items()) if key not in _NO_FACTS)])
