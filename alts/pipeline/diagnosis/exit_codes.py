"""Exit codes of a program that could not be run."""

from __future__ import annotations

from alts.core.command import Completed
from alts.core.instance import MachineRuined

NOT_RUN = (126, 127)
"""Shell exit codes: 126 not executable, 127 not found (POSIX, "Exit Status for Commands")."""


def check_tools(done: Completed) -> None:
    """Check that the program of a command was there to run. Raises MachineRuined if it is gone.

    The fresh machine had it, or the stages before the installation would not have passed.
    """
    if done.exit_code in NOT_RUN:
        raise MachineRuined(None, "a basic program or file of the machine is gone", evidence=done.tail(1))
