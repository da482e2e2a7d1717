"""Changes between two snapshots: complete for the artifact, grouped and cut for the report. Pure."""

from __future__ import annotations

import stat
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

from alts.checks.state.grouping import cut, grouped
from alts.checks.state.services import services_of
from alts.checks.state.snapshot import FileState, Snapshot
from alts.shared.models.report import Change, StateChange, shortened

FILE_LINES = 25
"""Lines of a report for added files, and as many for changed and for removed ones."""
LINES = 40
"""Lines of a report for each other sort of change."""
LONGEST_LINE = 300
"""Characters of a line in a report. A path may have thousands, the arguments of a process a million."""

_TYPES = {
    "f": stat.S_IFREG,
    "d": stat.S_IFDIR,
    "l": stat.S_IFLNK,
    "p": stat.S_IFIFO,
    "s": stat.S_IFSOCK,
    "b": stat.S_IFBLK,
    "c": stat.S_IFCHR,
}


def whole_changes(snapshots: Mapping[str, Snapshot]) -> tuple[StateChange, ...]:
    """Return the changes from each moment to the next, with mode, owner and size of every file.

    `snapshots`: moment → snapshot, in the order taken.
    """
    return tuple(
        _compare(one, other, snapshots[one], snapshots[other], files=_whole, others=tuple)
        for one, other in pairwise(snapshots)
    )


def brief_changes(snapshots: Mapping[str, Snapshot]) -> tuple[StateChange, ...]:
    """Return the same changes within FILE_LINES, LINES and LONGEST_LINE, with folders in place of many files."""
    return tuple(
        _compare(one, other, snapshots[one], snapshots[other], files=_brief, others=_cut)
        for one, other in pairwise(snapshots)
    )


_Files = Callable[[Sequence[str], Mapping[str, FileState], Mapping[str, FileState]], tuple[str, ...]]


def _compare(
    since: str,
    until: str,
    before: Snapshot,
    after: Snapshot,
    *,
    files: _Files,
    others: Callable[[Sequence[str]], tuple[str, ...]],
) -> StateChange:
    def named(one: Mapping[str, object], other: Mapping[str, object]) -> Change:
        change = _changes(one, other)
        return Change(added=others(change.added), changed=others(change.changed), removed=others(change.removed))

    listed = _changes(before.files, after.files)
    return StateChange(
        since=since,
        until=until,
        files=Change(
            added=files(listed.added, before.files, after.files),
            changed=files(listed.changed, before.files, after.files),
            removed=files(listed.removed, before.files, after.files),
        ),
        users=named(before.users, after.users),
        groups=named(before.groups, after.groups),
        services=named(services_of(before.files), services_of(after.files)),
        processes=named(_commands(before), _commands(after)),
        listening=named(dict.fromkeys(before.listening), dict.fromkeys(after.listening)),
        packages=named(_versions(before.packages), _versions(after.packages)),
    )


def _changes(before: Mapping[str, object], after: Mapping[str, object]) -> Change:
    return Change(
        added=tuple(sorted(after.keys() - before.keys())),
        changed=tuple(sorted(key for key, old in before.items() if key in after and _differ(old, after[key]))),
        removed=tuple(sorted(before.keys() - after.keys())),
    )


def _differ(old: object, new: object) -> bool:
    # Most entries of two snapshots are one object, see alts.checks.state.capture. Comparing them costs more.
    return old is not new and old != new


def _commands(snapshot: Snapshot) -> Mapping[str, int]:
    """Return command → number of processes that run it."""
    return Counter(process.command for process in snapshot.processes)


def _versions(packages: Mapping[str, str]) -> Mapping[str, None]:
    return dict.fromkeys(f"{name} {version}" for name, version in packages.items())


def _brief(paths: Sequence[str], before: Mapping[str, FileState], after: Mapping[str, FileState]) -> tuple[str, ...]:
    # A new or removed folder is listed only if it is empty; else its files are.
    inner = {path.rpartition("/")[0] for path in paths}
    kept = before.keys() & after.keys()
    lines = grouped((path for path in paths if path not in inner or path in kept), FILE_LINES)
    return tuple(shortened(line, LONGEST_LINE) for line in lines)


def _cut(lines: Sequence[str]) -> tuple[str, ...]:
    return tuple(shortened(line, LONGEST_LINE) for line in cut(lines, LINES))


def _whole(paths: Sequence[str], before: Mapping[str, FileState], after: Mapping[str, FileState]) -> tuple[str, ...]:
    return tuple(_described(path, [files[path] for files in (before, after) if path in files]) for path in paths)


def _described(path: str, states: Iterable[FileState]) -> str:
    return f"{path}: {' → '.join(map(_state_line, states))}"


def _state_line(state: FileState) -> str:
    """Describe mode, owner and size, for example "-rwxr-xr-x 0:0 26856"."""
    mode = stat.filemode(_TYPES.get(state.type, 0) | state.mode)
    line = f"{mode} {state.uid}:{state.gid}"
    if state.type == "l":
        return f"{line} to {state.target}"
    return line if state.type == "d" else f"{line} {state.size}"
