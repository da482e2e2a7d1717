"""A pull of an image that can be stopped while its registry is silent."""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping
from contextvars import copy_context
from typing import Any

from docker import APIClient

from alts.core.output import OutputSink
from alts.core.stop import Stop
from alts.runners.docker.errors import ENGINE_ERRORS, EngineFailed, said_by


class Pull:
    """One pull, read in its own thread, because the engine is silent while the registry is."""

    def __init__(self, client: APIClient, reference: str, *, platform: str) -> None:
        self._client = client
        self._reference = reference
        self._platform = platform
        self._events: queue.Queue[Mapping[str, Any] | Exception | None] = queue.Queue()
        self._abandoned = threading.Event()

    def follow(self, *, stop: Stop, log: OutputSink, answer_within: float) -> None:
        thread = threading.Thread(
            target=copy_context().run, args=(self._read,), name=f"pull {self._reference}", daemon=True
        )
        thread.start()
        answer_by = stop.within(answer_within)
        answered = False
        try:
            while (event := self._next()) is not None:
                answered = answered or bool(event)
                stop.check()
                if not answered and answer_by.reason:
                    raise EngineFailed(f"no registry answered for {self._reference} within {answer_within:.0f} s")
                if "error" in event:
                    raise EngineFailed(f"{self._reference} could not be pulled", details=str(event["error"]))
                # "progress" events arrive many times a second per layer.
                if "status" in event and "progress" not in event:
                    log(" ".join(filter(None, (event.get("id"), event["status"]))) + "\n")
        finally:
            self._abandoned.set()

    def _next(self) -> Mapping[str, Any] | None:
        """Return the next event, {} after 0.1 s without one, None at the end. Raises EngineFailed."""
        try:
            event = self._events.get(timeout=0.1)
        except queue.Empty:
            return {}
        if isinstance(event, Exception):
            raise EngineFailed(f"{self._reference} could not be pulled", details=said_by(event)) from event
        return event

    def _read(self) -> None:
        name, _, tag = self._reference.rpartition(":")
        try:
            for event in self._client.pull(name, tag=tag, platform=self._platform, stream=True, decode=True):
                self._events.put(event)
                if self._abandoned.is_set():
                    # Leaving the stream closes the connection, and the engine then cancels the pull.
                    return
            self._events.put(None)
        except ENGINE_ERRORS as error:
            self._events.put(error)
