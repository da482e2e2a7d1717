"""See that the package has taken away what it brought."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from alts.checks.leftovers.find import Leftover, find_leftovers, new_processes, of_dependencies, shown
from alts.checks.state.rules import Rules, rules_for
from alts.checks.state.snapshot import Snapshot
from alts.checks.state.tree import Tree
from alts.package_managers.base import Candidate
from alts.pipeline.context import StageContext
from alts.pipeline.output_file import whole_output
from alts.pipeline.stage import StageAnswer
from alts.pipeline.stages.snapshot import BEFORE, INSTALLED, PURGED, REMOVED, look, take
from alts.shared.models.report import Finding, Kind, Severity

TIDIED = "dependencies removed"

# Where packages keep what they were given (FHS 5.8, 3.17).
_DATA = ("/var/lib/", "/srv/")

# A daemon that was told to stop may take a moment to do so.
_LOOKS = 8
_LOOK_INTERVAL = 0.5  # seconds

# Removes the paths before the "--", and the lines of the users and groups after it: a process that makes them again is
# seen then. Passwords lie in the files with an "s".
_FORGET = r"""
set -e
while [ "$1" != -- ]; do
    rm -rf -- "$1"
    shift
done
shift
for name do
    for file in passwd shadow group gshadow; do
        [ ! -e "/etc/$file" ] || sed -i "/^$name:/d" "/etc/$file"
    done
done
"""


def leftovers(context: StageContext) -> StageAnswer:
    """Compare the machine with what it was before the package came, once its dependencies are gone too.

    What is left and might be a dependency's is put to the test: they are installed once more, without the package.
    """
    moments = context.seen.snapshots
    removed = moments.get(PURGED) or moments.get(REMOVED)
    if removed is None:
        return StageAnswer(skipped="the package was not removed")
    aftermath = _Aftermath(context, moments[BEFORE], moments.get(INSTALLED), removed, rules_for(context.spec.family))
    tidied = aftermath.tidy()
    found = aftermath.judge()
    if not tidied:
        return _answer(_doubted(one.finding, "; its dependencies cannot be removed") for one in found)
    if aftermath.dependencies and any(one.finding.severity is not Severity.INFO for one in found):
        return aftermath.try_without(found)
    return _answer(one.finding for one in found)


@dataclass
class _Aftermath:
    """The machine after the package was removed, and what is known of it before."""

    context: StageContext
    before: Snapshot
    installed: Snapshot | None
    after: Snapshot
    """Right after the removal; from tidy() on, once the dependencies are gone and nothing ends slowly any more."""
    rules: Rules
    dependencies: Mapping[str, str] = field(init=False)
    """Packages that came with the package and stayed when it was removed: name to version."""

    def __post_init__(self) -> None:
        stayed = self.after.packages.items()
        self.dependencies = {name: version for name, version in stayed if name not in self.before.packages}

    def tidy(self) -> bool:
        """Remove the package's dependencies; tell whether that went well."""
        context, packages = self.context, self.context.packages
        came = set() if self.installed is None else self.installed.packages.keys() - self.before.packages.keys()
        tidied = True
        # What went along with the package is purged first, while what its scripts may ask for, such as ucf, is there.
        gone = sorted(came - self.after.packages.keys() - {context.spec.package_name})
        if gone and packages.purge(context.spec) is not None:
            tidied = context.run(packages.remove_others_argv(gone)).ok
        if others := sorted({*came, *self.dependencies} - {*gone, context.spec.package_name}):
            tidied = context.run(packages.remove_others_argv(others)).ok and tidied
        if gone or others:
            self.after = take(context, TIDIED)
        self._settle()
        return tidied

    def _settle(self) -> None:
        """Look again, for some seconds, until nothing runs that was only slow to end."""
        for _ in range(_LOOKS):
            if all(self.rules.of_process(process.command) for process in new_processes(self.before, self.after)):
                return
            self.context.stop.sleep(_LOOK_INTERVAL)
            self.after = look(self.context, "state of the machine noted: something still runs")

    def judge(self) -> list[Leftover]:
        """Find what is left, without what the package keeps on purpose."""
        context, candidate = self.context, self.context.seen.candidate
        find = partial(
            find_leftovers,
            self.before,
            self.after,
            self.rules,
            archive=candidate is not None and context.packages.from_distribution(context.spec, candidate),
            declared=context.seen.declared,
        )
        # The list of owned files is long: it is only asked for where something would be found without it.
        found = find(owned=_owned_files(context, self.after)) if find(owned=frozenset()) else []
        return found if candidate is None else _kept_on_purpose(context, candidate, found)

    def try_without(self, found: Sequence[Leftover]) -> StageAnswer:
        """Install and remove the dependencies alone: what they leave by themselves is not held against the package."""
        context, packages = self.context, self.context.packages
        suspects = [one for one in found if _is_suspect(one)]
        forgotten = self._forget(suspects)
        installing = packages.install_others(context.spec, self.dependencies)
        faults = installing.judge(context.run(installing.argv))
        if ours := tuple(fault for fault in faults if fault.kind.ours):
            return StageAnswer(ours)
        removed = context.run(packages.remove_others_argv(self.dependencies)).ok
        again = look(context, "state of the machine noted: the same without the package")
        # What could not be taken away would look as if the dependencies had brought it again.
        if faults or not removed or not forgotten:
            return _answer(_doubted(one.finding, "; its dependencies cannot be tried without it") for one in found)
        return _answer(
            of_dependencies(one) if one in suspects and one.is_in(again, since=self.after) else one.finding
            for one in found
        )

    def _forget(self, suspects: Sequence[Leftover]) -> bool:
        """Remove the suspects from the machine; tell whether their files and accounts are gone."""
        fresh = [one for one in suspects if not one.changed]
        paths = [one.path for one in fresh if one.path]
        names = [one.user or one.group for one in fresh if one.user or one.group]
        escaped = (name.replace(".", r"\.") for name in names)
        forgotten = self.context.run(("/bin/sh", "-c", _FORGET, "sh", *paths, "--", *escaped)).ok
        commands = {one.command for one in suspects if one.command}
        if pids := [str(process.pid) for process in self.after.processes if process.command in commands]:
            self.context.run(("/bin/sh", "-c", 'kill -KILL "$@"', "sh", *pids))
        return forgotten


def _is_suspect(one: Leftover) -> bool:
    """Whether a dependency may have left it. What is missing cannot be brought back by trying."""
    return one.finding.kind is not Kind.MISSING_FILE and one.finding.severity is not Severity.INFO


def _answer(findings: Iterable[Finding]) -> StageAnswer:
    return StageAnswer(shown(dict.fromkeys(findings)))


def _owned_files(context: StageContext, after: Snapshot) -> frozenset[str]:
    """Return the paths of all packages that are still installed."""
    listing = context.packages.every_owned_file()
    content = whole_output(context, listing.argv, "files of all packages listed")
    tree = Tree(after.files)
    listed = listing.read(content.decode(errors="backslashreplace"))
    return frozenset(map(tree.place, listed))


def _kept_on_purpose(context: StageContext, candidate: Candidate, found: list[Leftover]) -> list[Leftover]:
    """Excuse data that the package deletes only when asked to through debconf, and the accounts that own it."""
    packages, data = context.packages, [one for one in found if one.path.startswith(_DATA) and not one.changed]
    query = packages.questions(context.spec, candidate) if data else None
    question = context.ask(query) if query else ""
    if not question:
        return found
    why = f": {question} asks before data is deleted, and nobody has said yes"
    kept = {one.path for one in data}
    return [
        replace(one, finding=_excused(one.finding, why)) if one in data or one.home in kept else one for one in found
    ]


def _excused(finding: Finding, why: str) -> Finding:
    return replace(finding, severity=Severity.INFO, message=finding.message + why)


def _doubted(finding: Finding, doubt: str) -> Finding:
    """Weaken an error to a warning: what is left may be a dependency's."""
    severity = Severity.WARNING if finding.severity is Severity.ERROR else finding.severity
    return replace(finding, severity=severity, message=finding.message + doubt)
