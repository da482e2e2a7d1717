"""What snapshots do not look at, and what a package may leave behind: data in resources/leftovers/, read once."""

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
    """What some paths or names have in common."""

    patterns: tuple[str, ...]
    why: str
    severity: Severity = Severity.INFO
    """How much it weighs when it is left behind; INFO for what may stay."""
    locked: bool = False
    """Of users: only of the system's own, that nobody can log in as."""
    archive: bool = False
    """Only of what the distribution's own packages leave behind, not those of the task's repositories."""
    declared: bool = False
    """Of users: only those that a package declares for systemd-sysusers(8)."""
    empty: bool = False
    """Only of files and folders with nothing in them."""


@dataclass(frozen=True)
class Rules:
    """All that is known about one family of distributions."""

    unseen_paths: tuple[Rule, ...] = ()
    seen_paths: tuple[Rule, ...] = ()
    """Looked at all the same."""
    left_paths: tuple[Rule, ...] = ()
    machine_paths: tuple[Rule, ...] = ()
    """Settings of the machine itself: packages may make them and leave them, and links may wait for them."""
    left_users: tuple[Rule, ...] = ()
    left_processes: tuple[Rule, ...] = ()
    _unseen: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        patterns = [pattern for rule in self.unseen_paths for pattern in rule.patterns]
        seen = [pattern for rule in self.seen_paths for pattern in rule.patterns]
        unseen = f"(?!(?:{_compiled(tuple(seen)).pattern})$)(?:{_compiled(tuple(patterns)).pattern})"
        object.__setattr__(self, "_unseen", re.compile(unseen, re.DOTALL))

    def unseen(self, path: str) -> bool:
        """Whether snapshots leave the path out."""
        return self._unseen.fullmatch(path) is not None

    def of_path(self, path: str, *, empty: bool = False) -> Rule | None:
        """The first rule about what is left at the path. `empty`: nothing is in it."""
        return _first([rule for rule in (*self.machine_paths, *self.left_paths) if rule.empty <= empty], path)

    def is_the_machines(self, path: str) -> bool:
        return _first(self.machine_paths, path) is not None

    def of_user(self, name: str, *, locked: bool = False, archive: bool = False, declared: bool = False) -> Rule | None:
        """`locked`: nobody can log in. `archive`: the package is the distribution's own. `declared`: see Rule."""
        rules = [
            rule
            for rule in self.left_users
            if rule.locked <= locked and rule.archive <= archive and rule.declared <= declared
        ]
        return _first(rules, name)

    def of_process(self, command: str) -> Rule | None:
        return _first(self.left_processes, command)


@functools.cache
def rules_for(family: Family) -> Rules:
    """Those of every family, then the family's own.

    Raises FileNotFoundError, KeyError or ValueError where the data are incomplete, which a test excludes.
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
    """`*` and `?` stay within a folder, `/**` at the end is all below the folder, `**` elsewhere is anything."""
    return re.compile("|".join(map(_regex, patterns)) or r"(?!)", re.DOTALL)


def _regex(pattern: str) -> str:
    words = {"/**": "(?:/.*)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(words.get(part) or re.escape(part) for part in re.split(r"(/\*\*$|\*\*|\*|\?)", pattern))
