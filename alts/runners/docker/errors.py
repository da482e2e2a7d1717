"""Convert exceptions of the docker SDK to the project's errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import requests.exceptions
import urllib3.exceptions
from docker import errors as docker_errors

from alts.shared.errors import ProvisionFailed

# The SDK does not wrap urllib3 errors when it reads a stream without requests.
ENGINE_ERRORS = (
    docker_errors.DockerException,
    requests.exceptions.RequestException,
    urllib3.exceptions.HTTPError,
    OSError,
)


class EngineFailed(ProvisionFailed):
    """The Docker engine did not answer, or refused a request."""


@contextmanager
def engine_errors(doing: str) -> Iterator[None]:
    """Turn SDK errors into EngineFailed. `doing` names the failed operation in the message."""
    try:
        yield
    except ENGINE_ERRORS as error:
        raise EngineFailed(f"the Docker engine could not {doing}", details=said_by(error)) from error


def said_by(error: Exception) -> str:
    """Return the engine's own explanation if there is one, else the SDK's error text."""
    explanation = getattr(error, "explanation", None)
    return str(explanation or error)
