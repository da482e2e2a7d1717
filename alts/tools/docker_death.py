"""What a dead container died of: what ran in it, or somebody outside. Pure; when not sure, the latter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_REACHES_BACK = 1_000_000_000  # nanoseconds before a death that the engine must still remember


def ran_out_of_memory(container: str, state: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the kernel has ended the container because its own memory was full, and nobody else had a hand in it.

    `state`: as the engine inspects it; `events`: all that the engine remembers, of any container, the oldest first: it
    keeps the last 256 (moby, daemon/events), and none from before its own start.
    """
    if not state.get("OOMKilled"):
        return False
    own = [event for event in events if event.get("Actor", {}).get("ID") == container]
    deaths = [event["timeNano"] for event in own if event.get("Action") == "die"]
    # An engine that has forgotten the death, or what was before it, may have killed the container itself.
    if not deaths or events[0]["timeNano"] > deaths[-1] - _REACHES_BACK:
        return False
    return not any(event.get("Action") == "kill" for event in own)
