"""What an operator agrees to give up, so that a service starts on a ledger that it would refuse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

ANY = "any"
NEW_VARIABLE = "ALTS_NEW_LEDGER"
ACCEPT_VARIABLE = "ALTS_ACCEPT_LEDGER"


@dataclass(frozen=True)
class Consent:
    """What the operator agrees to give up: the code of a mark that a refusal has named, or ANY.

    A code is good for one loss: left in the environment it does nothing about the next one.
    """

    new: str = ""
    """The ledger, for a new and empty one."""
    accept: str = ""
    """What the ledger that is there lacks."""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """What the environment says."""
        return cls(environment.get(NEW_VARIABLE, "").strip(), environment.get(ACCEPT_VARIABLE, "").strip())
