"""An operator's consent to a loss, so that the scheduler starts on a ledger that it would refuse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

ANY = "any"
NEW_VARIABLE = "ALTS_NEW_LEDGER"
ACCEPT_VARIABLE = "ALTS_ACCEPT_LEDGER"


@dataclass(frozen=True)
class Consent:
    """Consents to a loss. A value is the code of a mark that a refusal has named, ANY, or empty.

    A code is valid for one loss: if it stays in the environment, it has no effect on the next one.
    """

    new: str = ""
    """Consent to replace the ledger by a new, empty one."""
    accept: str = ""
    """Consent to go on with the present ledger without the entries that it lacks."""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """Read NEW_VARIABLE and ACCEPT_VARIABLE."""
        return cls(environment.get(NEW_VARIABLE, "").strip(), environment.get(ACCEPT_VARIABLE, "").strip())
