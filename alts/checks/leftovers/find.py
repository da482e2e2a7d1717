"""Leftovers of a package, found by comparing two snapshots. Pure."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from alts.checks.state.rules import Rules
from alts.checks.state.snapshot import FileState, Process, Snapshot
from alts.shared.models.report import Finding, Kind, Severity

SHOWN = 20
"""Findings of one kind and severity in a report; one more has the count of the rest."""

_WEIGHT = {Severity.INFO: 0, Severity.WARNING: 1, Severity.ERROR: 2}

# Ids below this are the system's own (login.defs(5), UID_MIN).
_FIRST_PERSON = 1000
_NO_SHELLS = ("/nologin", "/false")

# Names from mktemp(3) and similar functions differ from run to run.
_TEMPORARY = re.compile(r"(?P<folder>/(?:var/)?tmp|/dev/shm)/[^\s/]+")


@dataclass(frozen=True)
class Leftover:
    """One leftover file, folder, account or process; only the fields of its sort are set."""

    finding: Finding
    path: str = ""
    inside: tuple[str, ...] = ()
    """If `path` is a folder: all entries below it that are not folders, sorted."""
    changed: bool = False
    """It was there before and is different now."""
    user: str = ""
    home: str = ""
    """The user's home directory."""
    group: str = ""
    command: str = ""

    def is_in(self, snapshot: Snapshot, *, since: Snapshot) -> bool:
        """Return whether another snapshot has the leftover too.

        A changed file counts if it has changed again since the snapshot `since`.
        """
        if self.changed:
            return snapshot.files.get(self.path) != since.files.get(self.path) and not (self.user or self.group)
        if self.path:
            return self.path in snapshot.files and self._as_full(snapshot)
        if self.command:
            return any(process.command == self.command for process in snapshot.processes)
        return self.user in snapshot.users or self.group in snapshot.groups

    def _as_full(self, snapshot: Snapshot) -> bool:
        """Return whether each folder has at least as many files there. Names may differ from run to run."""
        there = Counter(map(posixpath.dirname, _below(self.path, snapshot)))
        return Counter(map(posixpath.dirname, self.inside)) <= there


def find_leftovers(
    before: Snapshot,
    after: Snapshot,
    rules: Rules,
    *,
    owned: Collection[str],
    archive: bool = False,
    declared: Collection[str] = frozenset(),
) -> list[Leftover]:
    """Return additions and changes since `before`, sorted by kind, then by path or name.

    `owned`: files of installed packages. `archive`: the package is the distribution's own. `declared`: users and groups
    that packages declare for systemd-sysusers(8).

    Changed files of other packages, changed accounts and missing files count only if the same packages are installed as
    before: else they changed or went with a package.
    """
    accounts = {
        name: _account_severity(name, after, rules, archive=archive, declared=name in declared)
        for name in after.users.keys() | after.groups.keys()
    }
    found = [
        *_added_files(before, after, rules, owned, accounts),
        *_changed_files(before, after, rules, owned),
        *_accounts(before, after, accounts),
        *_processes(before, after, rules),
    ]
    if before.packages == after.packages:
        found += _changed_accounts(before, after, accounts)
        found += _missing_files(before, after, rules, owned)
    return sorted(found, key=lambda one: (one.finding.kind, one.path, one.user, one.group, one.command))


def new_processes(before: Snapshot, after: Snapshot) -> tuple[Process, ...]:
    """Return the processes that did not run before, without children of other new ones."""
    known = Counter(process.command for process in before.processes)
    fresh: dict[int, Process] = {}
    for process in after.processes:
        if known[process.command]:
            known[process.command] -= 1
        else:
            fresh[process.pid] = process
    return tuple(process for process in fresh.values() if process.parent not in fresh)


def shown(findings: Iterable[Finding], limit: int = SHOWN) -> tuple[Finding, ...]:
    """Return the first `limit` findings of each kind and severity, and for the rest one finding with their count."""
    counts: Counter[tuple[Kind, Severity]] = Counter()
    kept = []
    for finding in findings:
        sort = (finding.kind, finding.severity)
        counts[sort] += 1
        if counts[sort] <= limit:
            kept.append(finding)
    return (
        *kept,
        *(
            Finding(kind=kind, severity=severity, message=f"and {count - limit} more of this kind")
            for (kind, severity), count in sorted(counts.items())
            if count > limit
        ),
    )


def _added_files(
    before: Snapshot, after: Snapshot, rules: Rules, owned: Collection[str], accounts: Mapping[str, Severity]
) -> Iterator[Leftover]:
    """Yield one leftover for the topmost folder of files that were added together."""
    homes = _kept_homes(before, after, accounts)
    added = {path for path in after.files.keys() - before.files.keys() if path not in owned}
    members: dict[str, list[str]] = {}
    for path in added:
        members.setdefault(_top(path, added), []).append(path)
    for top, paths in members.items():
        folder = after.files[top].type == "d"
        inside = [path for path in paths if after.files[path].type != "d"]
        # The files in a folder decide its severity; an empty folder does little harm.
        severities = [_severity(rules, path, after.files[path]) for path in inside] or [
            min(_severity(rules, top, after.files[top]), Severity.WARNING, key=_weight)
        ]
        severity = max(severities, key=_weight)
        if severity is Severity.INFO or (top in homes and not inside):
            continue
        what = "" if not folder else ", with its contents" if inside else ", empty"
        finding = Finding(
            kind=Kind.LEFTOVER_FILE, severity=severity, message=f"{top} was left behind{what}", evidence=top
        )
        yield Leftover(finding, path=top, inside=tuple(sorted(inside)) if folder else ())


def _below(folder: str, snapshot: Snapshot) -> list[str]:
    """Return all entries below the folder that are not folders."""
    return [path for path, state in snapshot.files.items() if path.startswith(f"{folder}/") and state.type != "d"]


def _top(path: str, added: Collection[str]) -> str:
    while (folder := posixpath.dirname(path)) in added:
        path = folder
    return path


def _changed_files(before: Snapshot, after: Snapshot, rules: Rules, owned: Collection[str]) -> Iterator[Leftover]:
    same = before.packages == after.packages
    for path, old in before.files.items():
        new = after.files.get(path)
        # Most entries of two snapshots are one object, see alts.checks.state.capture.
        if new is None or new is old:
            continue
        others = path in owned
        # A file that was changed and restored differs in its time only.
        if old._replace(mtime=0) == new._replace(mtime=0) or (others and not same):
            continue
        severity = _severity(rules, path, new)
        if severity is not Severity.INFO:
            whose = ", which belongs to another package," if others else ""
            message = f"{path}{whose} was changed and not restored"
            kind = Kind.MODIFIED_FILE if others else Kind.LEFTOVER_FILE
            finding = Finding(kind=kind, severity=severity, message=message, evidence=_what(old, new))
            yield Leftover(finding, path=path, changed=True)


def _what(old: FileState, new: FileState) -> str:
    """Describe the change, for example "size 10, then 20; mode 0644, then 0600"."""
    pairs = {
        "type": (old.type, new.type),
        "size": (old.size, new.size),
        "mode": (f"{old.mode:04o}", f"{new.mode:04o}"),
        "owner": (f"{old.uid}:{old.gid}", f"{new.uid}:{new.gid}"),
        "target": (old.target, new.target),
    }
    return "; ".join(f"{name} {one}, then {other}" for name, (one, other) in pairs.items() if one != other)


def _missing_files(before: Snapshot, after: Snapshot, rules: Rules, owned: Collection[str]) -> Iterator[Leftover]:
    missing = before.files.keys() - after.files.keys()
    full = {folder for path in missing if before.files[path].type != "d" for folder in _above(path)}
    for path in missing:
        severity = _severity(rules, path)
        if posixpath.dirname(path) in missing or severity is Severity.INFO:
            continue
        # dpkg and rpm remove an empty folder that the package also has, for example /opt.
        if before.files[path].type == "d" and path not in full and path not in owned:
            continue
        message = f"{path} existed before the installation and is gone"
        finding = Finding(kind=Kind.MISSING_FILE, severity=severity, message=message, evidence=path)
        yield Leftover(finding, path=path)


def _above(path: str) -> Iterator[str]:
    """Yield the folders that contain the path, innermost first."""
    while (folder := posixpath.dirname(path)) != path:
        yield folder
        path = folder


def _kept_homes(before: Snapshot, after: Snapshot, accounts: Mapping[str, Severity]) -> set[str]:
    """Return the home directories of new accounts that may stay."""
    fresh = after.users.keys() - before.users.keys()
    return {_home(after.users[name]) for name in fresh if accounts[name] is Severity.INFO}


def _home(account: str) -> str:
    """Return the home directory in "100:101:somebody:/var/lib/x:/usr/sbin/nologin"."""
    return "".join(account.split(":")[3:4])


def _account_severity(name: str, after: Snapshot, rules: Rules, *, archive: bool, declared: bool) -> Severity:
    locked = all(map(_locked, (entries[name] for entries in (after.users, after.groups) if name in entries)))
    rule = rules.of_user(name, locked=locked, archive=archive, declared=declared)
    return rule.severity if rule else Severity.ERROR


def _locked(account: str) -> bool:
    """Return whether it is a system account without a shell: "100:101::/nonexistent:/usr/sbin/nologin"."""
    number, *words = account.split(":")
    login = len(words) > 1 and not words[-1].endswith(_NO_SHELLS)
    return number.isdecimal() and 0 < int(number) < _FIRST_PERSON and not login


def _accounts(before: Snapshot, after: Snapshot, accounts: Mapping[str, Severity]) -> Iterator[Leftover]:
    """Yield new accounts. A user and the group of the same name are one leftover."""
    users = after.users.keys() - before.users.keys()
    groups = after.groups.keys() - before.groups.keys()
    for name in users | groups:
        severity = accounts[name]
        if severity is Severity.INFO:
            continue
        sorts = [sort for sort, names in (("user", users), ("group", groups)) if name in names]
        message = f"the {' and the '.join(sorts)} {name} {'was' if len(sorts) == 1 else 'were'} left behind"
        evidence = f"{name}:{after.users[name]}" if name in users else f"{name}:{after.groups[name]}"
        finding = Finding(kind=Kind.LEFTOVER_USER, severity=severity, message=message, evidence=evidence)
        yield Leftover(
            finding,
            user=name if name in users else "",
            home=_home(after.users[name]) if name in users else "",
            group=name if name in groups else "",
        )


def _changed_accounts(before: Snapshot, after: Snapshot, accounts: Mapping[str, Severity]) -> Iterator[Leftover]:
    """Yield accounts that were there before and are different now, and groups with other members."""
    fresh = after.users.keys() - before.users.keys()
    entries = [("user", name, before.users[name], after.users[name]) for name in before.users.keys() & after.users]
    entries += [
        ("group", name, _members(before.groups[name]), _members(after.groups[name], without=fresh))
        for name in before.groups.keys() & after.groups
    ]
    for sort, name, old, new in entries:
        severity = accounts[name]
        if old == new or severity is Severity.INFO:
            continue
        message = f"the {sort} {name} was changed and not restored"
        evidence = f"{name}:{old}, then {name}:{new}"
        finding = Finding(kind=Kind.LEFTOVER_USER, severity=severity, message=message, evidence=evidence)
        yield Leftover(
            finding, changed=True, user=name if sort == "user" else "", group=name if sort == "group" else ""
        )


def _members(group: str, *, without: Collection[str] = ()) -> str:
    """Return "27:one,two" with sorted members. New users are left out, because they are leftovers themselves."""
    number, _, members = group.partition(":")
    return f"{number}:{','.join(sorted(name for name in members.split(',') if name not in without))}"


def _processes(before: Snapshot, after: Snapshot, rules: Rules) -> Iterator[Leftover]:
    for command in {process.command for process in new_processes(before, after)}:
        rule = rules.of_process(command)
        severity = rule.severity if rule else Severity.ERROR
        if severity is not Severity.INFO:
            evidence = _TEMPORARY.sub(r"\g<folder>/...", command)
            message = f"{evidence.split()[0]} still runs"
            finding = Finding(kind=Kind.PROCESS_LEFT_RUNNING, severity=severity, message=message, evidence=evidence)
            yield Leftover(finding, command=command)


def _severity(rules: Rules, path: str, state: FileState | None = None) -> Severity:
    rule = rules.of_path(path, empty=state is not None and state.size == 0 and state.type in "fd")
    return rule.severity if rule else Severity.ERROR


def _weight(severity: Severity) -> int:
    return _WEIGHT[severity]


def of_dependencies(leftover: Leftover) -> Finding:
    """Return the finding as INFO: the dependencies leave it behind without the package too."""
    message = f"{leftover.finding.message}: the same happens when only the package's dependencies are installed"
    return replace(leftover.finding, severity=Severity.INFO, message=message)
