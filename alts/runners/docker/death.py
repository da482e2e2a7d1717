"""Cause of a container's death: its own processes or an outside actor. Pure functions; in doubt, the latter.

`state` is the container's State from inspect. `events` are all events that the engine remembers, of any container,
oldest first. The engine keeps the last 256 (moby, daemon/events), none from before its own start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_SIGNALS = 128  # exit codes from here up: killed by a signal, or unknown
_REACHES_BACK = 1_000_000_000  # nanoseconds before a death that the engine must still remember


def ran_out_of_memory(container: str, state: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether the kernel OOM-killed the container at its own memory limit, with no kill through the engine."""
    return bool(state.get("OOMKilled")) and _nobody_else(container, events)


def ended_by_itself(container: str, state: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether the container's init process called exit(2). An endless sleep never does so by itself: another
    process in the container made it, e.g. by ptrace(2).

    An outside actor cannot cause this. Only SIGKILL reaches an init process without signal handlers
    (pid_namespaces(7)), and the engine reports 128 or more for killed or lost processes.
    """
    code = state.get("ExitCode")
    return isinstance(code, int) and 0 <= code < _SIGNALS and _nobody_else(container, events)


def _nobody_else(container: str, events: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether the engine remembers the death and no kill of the container."""
    own = [event for event in events if event.get("Actor", {}).get("ID") == container]
    deaths = [event["timeNano"] for event in own if event.get("Action") == "die"]
    # If the death or the events before it are forgotten, the engine may have killed the container.
    if not deaths or events[0]["timeNano"] > deaths[-1] - _REACHES_BACK:
        return False
    return not any(event.get("Action") == "kill" for event in own)
