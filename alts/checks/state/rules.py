"""Rules for paths that snapshots leave out and for leftovers that may stay. The data are in resources/leftovers/."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from alts.core.resources import resource
from alts.shared.models.distributions import Family
from alts.shared.models.report import Severity


@dataclass(frozen=True)
class Rule:
    """A rule for paths, names or commands that match one of its patterns."""

    patterns: tuple[str, ...]
    why: str
    severity: Severity = Severity.INFO
    """The severity of a leftover that matches; INFO if it may stay."""
    locked: bool = False
    """For accounts: matches only system accounts without a login shell."""
    archive: bool = False
    """Matches only leftovers of the distribution's own packages, not of packages from the task's repositories."""
    declared: bool = False
    """For accounts: matches only those that a package declares for systemd-sysusers(8)."""
    empty: bool = False
    """Matches only empty files and folders."""


@dataclass(frozen=True)
class Rules:
    """The rules for one family of distributions."""

    unseen_paths: tuple[Rule, ...] = ()
    seen_paths: tuple[Rule, ...] = ()
    """Exceptions to `unseen_paths`."""
    left_paths: tuple[Rule, ...] = ()
    machine_paths: tuple[Rule, ...] = ()
    """Settings of the machine itself. A package may make and leave them, and a link to a missing one is not broken."""
    left_users: tuple[Rule, ...] = ()
    left_processes: tuple[Rule, ...] = ()
    _unseen: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        patterns = [pattern for rule in self.unseen_paths for pattern in rule.patterns]
        seen = [pattern for rule in self.seen_paths for pattern in rule.patterns]
        unseen = f"(?!(?:{_compiled(tuple(seen)).pattern})$)(?:{_compiled(tuple(patterns)).pattern})"
        object.__setattr__(self, "_unseen", re.compile(unseen, re.DOTALL))

    def unseen(self, path: str) -> bool:
        """Return whether snapshots leave the path out."""
        return self._unseen.fullmatch(path) is not None

    def of_path(self, path: str, *, empty: bool = False) -> Rule | None:
        """Return the first rule for a leftover at the path; None if it may not stay. `empty`: it has no content."""
        return _first([rule for rule in (*self.machine_paths, *self.left_paths) if rule.empty <= empty], path)

    def is_the_machines(self, path: str) -> bool:
        """Return whether the path is a setting of the machine itself."""
        return _first(self.machine_paths, path) is not None

    def of_user(self, name: str, *, locked: bool = False, archive: bool = False, declared: bool = False) -> Rule | None:
        """Return the first rule for a leftover account; None if it may not stay.

        `locked`: nobody can log in. `archive`: the package is the distribution's own. `declared`: see Rule.
        """
        rules = [
            rule
            for rule in self.left_users
            if rule.locked <= locked and rule.archive <= archive and rule.declared <= declared
        ]
        return _first(rules, name)

    def of_process(self, command: str) -> Rule | None:
        """Return the first rule for a process that still runs; None if it may not."""
        return _first(self.left_processes, command)


@functools.cache
def rules_for(family: Family) -> Rules:
    """Return the rules common to all families, followed by the family's own. Reads the files once.

    Raises FileNotFoundError, KeyError or ValueError if the data are incomplete, which a test excludes.
    """
    tables = [
        yaml.safe_load(resource("leftovers", name).read_text("utf-8")) for name in ("common.yaml", f"{family}.yaml")
    ]
    return Rules(
        unseen_paths=_rules(tables, "unseen"),
        seen_paths=_rules(tables, "seen"),
        left_paths=_rules(tables, "files"),
        machine_paths=_rules(tables, "machine"),
        left_users=_rules(tables, "users"),
        left_processes=_rules(tables, "processes"),
    )


def _rules(tables: Iterable[dict[str, Any]], key: str) -> tuple[Rule, ...]:
    return tuple(
        Rule(
            patterns=tuple(entry["match"]),
            why=entry["why"],
            severity=Severity(entry.get("severity", Severity.INFO)),
            locked=entry.get("locked", False),
            archive=entry.get("archive", False),
            declared=entry.get("declared", False),
            empty=entry.get("empty", False),
        )
        for table in tables
        for entry in table.get(key) or ()
    )


def _first(rules: Sequence[Rule], text: str) -> Rule | None:
    return next((rule for rule in rules if _compiled(rule.patterns).fullmatch(text)), None)


@functools.cache
def _compiled(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """Compile glob patterns.

    `*` and `?` match within one folder. `/**` at the end matches the folder and all below it, `**` elsewhere anything.
    """
    return re.compile("|".join(map(_regex, patterns)) or r"(?!)", re.DOTALL)


def _regex(pattern: str) -> str:
    words = {"/**": "(?:/.*)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(words.get(part) or re.escape(part) for part in re.split(r"(/\*\*$|\*\*|\*|\?)", pattern))
