"""What a dead container died of: what ran in it, or somebody outside. Pure; when not sure, the latter.

`state` is what the engine says when it inspects the container; `events` are all that the engine remembers, of any
container, the oldest first: it keeps the last 256 (moby, daemon/events), and none from before its own start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_SIGNALS = 128  # exit codes from here on: ended by a signal, or unknown
_REACHES_BACK = 1_000_000_000  # nanoseconds before a death that the engine must still remember


def ran_out_of_memory(container: str, state: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the kernel has ended the container because its own memory was full, and nobody else had a hand in it."""
    return bool(state.get("OOMKilled")) and _nobody_else(container, events)


def ended_by_itself(container: str, state: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the container's first process has called exit(2), which a sleep without end never does: something that
    runs in the container has had it do so, such as by ptrace(2).

    Nobody outside ends it like that: of their signals only SIGKILL reaches a first process that waits for none
    (pid_namespaces(7)), and the engine itself says 128 and more of what was killed, or lost.
    """
    code = state.get("ExitCode")
    return isinstance(code, int) and 0 <= code < _SIGNALS and _nobody_else(container, events)


def _nobody_else(container: str, events: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the engine remembers the death, and that it has not killed the container."""
    own = [event for event in events if event.get("Actor", {}).get("ID") == container]
    deaths = [event["timeNano"] for event in own if event.get("Action") == "die"]
    # An engine that has forgotten the death, or what was before it, may have killed the container itself.
    if not deaths or events[0]["timeNano"] > deaths[-1] - _REACHES_BACK:
        return False
    return not any(event.get("Action") == "kill" for event in own)
