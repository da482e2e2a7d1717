"""Which machines nobody needs any more. Pure, but for the question to the ledger that is handed in."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from alts.runners.base import Machine

Attempt = tuple[str, int]
"""Task id and attempt."""


def orphans(
    machines: Iterable[Machine],
    *,
    own: str,
    active: Collection[Attempt],
    neighbours: Collection[str],
    over: Callable[[Sequence[Attempt]], Collection[Attempt]],
) -> tuple[Attempt, ...]:
    """The attempts whose machines may be removed, of all that an engine shows.

    `own`: this worker's identity: what it is not at work on (`active`, asked for after the machines) is left over from
    an end that did not come off. `neighbours`: identities of this host, whose slots say whether they live; they are
    left alone. Anybody else may be a living worker elsewhere, or of another installation: only what the ledger knows
    to be `over` is removed.
    """
    mine: set[Attempt] = set()
    strange: set[Attempt] = set()
    for machine in machines:
        attempt = machine.task_id, machine.attempt
        if machine.worker == own:
            if attempt not in active:
                mine.add(attempt)
        elif machine.worker not in neighbours:
            strange.add(attempt)
    finished = set(over(sorted(strange))) & strange if strange else set()
    return tuple(sorted(mine | finished))
