"""Exit codes of a program that could not be run."""

from __future__ import annotations

from alts.core.command import Completed
from alts.core.instance import MachineRuined

NOT_RUN = (126, 127)
"""Shell exit codes: 126 not executable, 127 not found (POSIX, "Exit Status for Commands")."""


def check_tools(done: Completed) -> None:
    """Check that the program of a command was there to run.

    The fresh machine had every program that stages ask: without one, no stage before the installation would have
    passed. Raises MachineRuined if the exit code says that the program is gone.
    """
    if done.exit_code in NOT_RUN:
        raise MachineRuined(None, "what every machine has is gone", evidence=done.tail(1))
