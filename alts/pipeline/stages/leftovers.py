"""Check that the removal took away everything that the package brought."""

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

# The folders for data that packages are given (FHS 5.8, 3.17).
_DATA = ("/var/lib/", "/srv/")

# A daemon may take a moment to stop.
_LOOKS = 8
_LOOK_INTERVAL = 0.5  # seconds

# Removes the paths before the "--", and the lines of the users and groups after it. If a process makes them again, the
# next snapshot shows it. shadow and gshadow hold the passwords.
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
    """Remove the dependencies too, and compare the machine with its state before the installation.

    A leftover may be a dependency's. To decide that, the dependencies are installed and removed once more, without the
    package.
    """
    moments = context.seen.snapshots
    removed = moments.get(PURGED) or moments.get(REMOVED)
    if removed is None:
        return StageAnswer(skipped="the package was not removed")
    aftermath = _Aftermath(
        context, moments[BEFORE], moments.get(INSTALLED), removed, rules_for(context.spec.platform.family)
    )
    tidied = aftermath.tidy()
    found = aftermath.judge()
    if not tidied:
        return _answer(
            _doubted(one.finding, "; perhaps left by a dependency, which could not be removed") for one in found
        )
    if aftermath.dependencies and any(one.finding.severity is not Severity.INFO for one in found):
        return aftermath.try_without(found)
    return _answer(one.finding for one in found)


@dataclass
class _Aftermath:
    """The machine after the removal, with its states before."""

    context: StageContext
    before: Snapshot
    installed: Snapshot | None
    after: Snapshot
    """The state right after the removal; tidy() replaces it by the state without the dependencies."""
    rules: Rules
    dependencies: Mapping[str, str] = field(init=False)
    """Packages that the installation brought and the removal kept: name → version."""

    def __post_init__(self) -> None:
        stayed = self.after.packages.items()
        self.dependencies = {name: version for name, version in stayed if name not in self.before.packages}

    def tidy(self) -> bool:
        """Remove the package's dependencies and let slow processes end. Return whether all dependencies could go."""
        context, packages = self.context, self.context.packages
        came = set() if self.installed is None else self.installed.packages.keys() - self.before.packages.keys()
        tidied = True
        # Packages that the removal took along are purged first, while programs for their scripts, e.g. ucf, are there.
        absent = {*(came - self.after.packages.keys()), context.spec.package_name}
        if gone := sorted((came & self.after.unpurged) - {context.spec.package_name}):
            tidied = context.perform(packages.remove_others(gone)).ok
        if others := sorted({*came, *self.dependencies} - absent):
            tidied = context.perform(packages.remove_others(others)).ok and tidied
        if gone or others:
            self.after = take(context, TIDIED)
        self._settle()
        return tidied

    def _settle(self) -> None:
        """Look again, for some seconds, until all new processes have ended or may stay."""
        for _ in range(_LOOKS):
            if all(self.rules.of_process(process.command) for process in new_processes(self.before, self.after)):
                return
            self.context.stop.sleep(_LOOK_INTERVAL)
            self.after = look(self.context, "snapshot of the machine, while processes end")

    def judge(self) -> list[Leftover]:
        """Return the leftovers. Data that the package keeps on purpose is only INFO."""
        context, candidate = self.context, self.context.seen.candidate
        find = partial(
            find_leftovers,
            self.before,
            self.after,
            self.rules,
            archive=candidate is not None and context.packages.from_distribution(context.spec, candidate),
            declared=context.seen.declared,
        )
        # The list of owned files is long, so it is read only if there are leftovers without it.
        found = find(owned=_owned_files(context, self.after)) if find(owned=frozenset()) else []
        return found if candidate is None else _kept_on_purpose(context, candidate, found)

    def try_without(self, found: Sequence[Leftover]) -> StageAnswer:
        """Install and remove the dependencies alone, and excuse what they leave by themselves."""
        context, packages = self.context, self.context.packages
        suspects = [one for one in found if _is_suspect(one)]
        forgotten = self._forget(suspects)
        installing = packages.install_others(context.spec, self.dependencies)
        faults = installing.judge(context.run(installing.argv))
        if ours := tuple(fault for fault in faults if fault.kind.ours):
            return StageAnswer(ours)
        removed = context.perform(packages.remove_others(self.dependencies)).ok
        again = look(context, "snapshot of the machine, dependencies alone")
        # A leftover that could not be deleted would look as if the dependencies had brought it again.
        if faults or not removed or not forgotten:
            return _answer(
                _doubted(one.finding, "; perhaps left by a dependency, which could not be tested alone")
                for one in found
            )
        return _answer(
            of_dependencies(one) if one in suspects and one.is_in(again, since=self.after) else one.finding
            for one in found
        )

    def _forget(self, suspects: Sequence[Leftover]) -> bool:
        """Delete the suspects' files and accounts, kill their processes. Return whether the deletion succeeded."""
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
    """Return whether a dependency may have left it. A trial cannot bring a missing file back, so it tells nothing."""
    return one.finding.kind is not Kind.MISSING_FILE and one.finding.severity is not Severity.INFO


def _answer(findings: Iterable[Finding]) -> StageAnswer:
    return StageAnswer(shown(dict.fromkeys(findings)))


def _owned_files(context: StageContext, after: Snapshot) -> frozenset[str]:
    """Return the paths that packages still installed own, with all links in their folders followed."""
    listing = context.packages.every_owned_file()
    content = whole_output(context, listing.argv, "list of all packages' files")
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
    why = f": the package deletes it only if the debconf question {question} is answered with yes"
    kept = {one.path for one in data}
    return [
        replace(one, finding=_excused(one.finding, why)) if one in data or one.home in kept else one for one in found
    ]


def _excused(finding: Finding, why: str) -> Finding:
    return replace(finding, severity=Severity.INFO, message=finding.message + why)


def _doubted(finding: Finding, doubt: str) -> Finding:
    """Weaken an error to a warning, because a dependency may have left it."""
    severity = Severity.WARNING if finding.severity is Severity.ERROR else finding.severity
    return replace(finding, severity=severity, message=finding.message + doubt)
