"""The guard: refuses a ledger that is not the one that this service left, and tells the operator how to go on."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from alts.shared.errors import LedgerRefused
from alts.shared.models.consent import ACCEPT_VARIABLE, ANY, NEW_VARIABLE, Consent
from scheduler.ledger.identity import Found
from scheduler.ledger.mark import Mark, MarkFile
from scheduler.ledger.sqlite_files import LedgerFile

log = logging.getLogger(__name__)


class Guard:
    """Compares the ledger with its mark before use, and updates the mark from then on."""

    def __init__(self, file: MarkFile, consent: Consent) -> None:
        """Read the mark. Raises ConfigurationError if it is damaged."""
        self._file = file
        self._mark = file.read()
        self._new = _is_meant(consent.new, self._mark)
        self._accept = _is_meant(consent.accept, self._mark)
        self._in_files = False
        self._log_trouble = ""

    @property
    def has_mark(self) -> bool:
        """Whether there is a mark to compare the ledger with."""
        return self._mark is not None

    @property
    def wants_new(self) -> bool:
        """Whether a new ledger may replace a refused one."""
        return self._new

    @property
    def doubts(self) -> bool:
        """Whether to check the ledger's pages: it was not closed in order, or the operator accepts another one."""
        return self._new or self._accept or (self._mark is not None and self._mark.boot is not None)

    def check_files(self, ledger: LedgerFile) -> None:
        """Check the files before SQLite opens them and creates the missing ones. Raises LedgerRefused."""
        self._in_files = True
        if (mark := self._mark) is None:
            return
        if not ledger.size:
            what = "is missing" if ledger.size is None else "is empty (0 bytes)"
            raise self._refusal(f"the ledger {ledger.path} {what}", mark, empty=True)
        if mark.boot is None or ledger.has_wal():
            return
        self._log_trouble = (
            f"; its write-ahead log {ledger.wal} is {'damaged' if ledger.wal_size else 'missing or empty'}"
        )
        # After kill -9 the mark knows every commit, so `check` notices entries lost with the log. A power failure may
        # also have lost the mark's last second: then only the log could tell.
        if mark.boot != self._file.boot and not self._accept:
            raise self._refusal(f"the ledger {ledger.path} was in use when the machine went down", mark)

    def check(self, found: Found, where: str) -> None:
        """Compare the database with the mark, before its tables are changed. Raises LedgerRefused."""
        if (mark := self._mark) is None or (self._accept and found.tables):
            return
        if not found.tables:
            if self._in_files or not self._new:
                raise self._refusal(f"the ledger {where} has no tables", mark, empty=True)
        elif found.identity != mark.ledger:
            kind = f"ledger {found.identity[:8]}" if found.identity else "the ledger of an older version"
            raise self._refusal(f"{where} is another ledger ({kind})", mark)
        elif found.highest < mark.highest:
            missing = mark.highest - found.highest
            raise self._refusal(
                f"the ledger {where} ends at entry {found.highest} of its history, the last {missing} are missing",
                mark,
            )

    def damaged(self, where: str, reason: str) -> LedgerRefused:
        """Build the refusal of a ledger that the database cannot read."""
        if self._mark is None:
            return LedgerRefused(
                f"the ledger {where} is damaged: {reason}",
                resolution="restore it from a backup, or move it away to begin a new one",
            )
        return self._refusal(f"the ledger {where} is damaged: {reason}", self._mark, usable=False)

    def forget(self) -> None:
        """Drop the mark, because the ledger is a new one."""
        self._mark = None

    def opened(self, found: Found) -> None:
        """Write the mark of a ledger that is now in use. Raises OSError."""
        if self._mark is not None and (self._new or self._accept):
            log.warning("going on with this ledger", extra={"ledger": found.identity, "was": self._mark.code})
        self._file.open(ledger=found.identity or "", highest=found.highest)

    def committed(self, entry: int) -> None:
        """Record that a history entry was committed."""
        self._file.advance(entry)

    def close(self, *, in_order: bool) -> None:
        """Close the mark. `in_order`: the ledger was closed and no damage was found."""
        self._file.close(in_order=in_order)

    def _refusal(self, problem: str, mark: Mark, *, usable: bool = True, empty: bool = False) -> LedgerRefused:
        last = datetime.fromtimestamp(mark.at, UTC)
        known = f"Entry {mark.highest} was written to ledger {mark.ledger[:8]} at {last:%Y-%m-%d %H:%M:%S} UTC"
        ways = ["restore it, with the -wal file that belongs to it or with none" if self._in_files else "restore it"]
        if usable and not empty:
            ways.append(f"start once with --accept-ledger or {ACCEPT_VARIABLE}={mark.code} to go on with this ledger")
        if self._in_files or empty:
            ways.append(f"start once with --new-ledger or {NEW_VARIABLE}={mark.code} to begin an empty one")
        return LedgerRefused(
            f"{problem}{self._log_trouble}. {known}, says {self._file.path}", resolution="; or ".join(ways)
        )


def _is_meant(consent: str, mark: Mark | None) -> bool:
    return consent == ANY or (mark is not None and consent == mark.code)
