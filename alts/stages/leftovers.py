"""See that the package has taken away what it brought."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from alts.packages.base import Candidate
from alts.shared.report import Finding, Kind, Severity
from alts.snapshots.leftovers import Leftover, find_leftovers, new_processes, of_dependencies, shown
from alts.snapshots.rules import Rules, rules_for
from alts.snapshots.snapshot import Snapshot
from alts.snapshots.tree import Tree
from alts.stages.base import StageAnswer, StageContext
from alts.stages.snapshot import BEFORE, INSTALLED, PURGED, REMOVED, look, take
from alts.stages.whole_output import whole_output

TIDIED = "dependencies removed"

# Where packages keep what they were given (FHS 5.8, 3.17).
_DATA = ("/var/lib/", "/srv/")

# A daemon that was told to stop may take a moment to do so.
_LOOKS = 8
_LOOK_INTERVAL = 0.5  # seconds

# Takes away what is in the arguments before the "--", and the lines of the users and groups after it, so that whoever
# makes them again can be seen to do so. Passwords lie in the files with an "s".
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
    moments, packages = context.seen.snapshots, context.packages
    rules = rules_for(context.spec.family)
    candidate = context.seen.candidate
    archive = candidate is not None and packages.from_distribution(context.spec, candidate)
    before, after = moments[BEFORE], moments.get(PURGED) or moments.get(REMOVED)
    if after is None:
        return StageAnswer(skipped="the package was not removed")
    staying = {name: version for name, version in after.packages.items() if name not in before.packages}
    came = moments[INSTALLED].packages.keys() - before.packages.keys() if INSTALLED in moments else set()
    tidied = True
    # What went along with the package has yet to be purged: while all is there that its scripts may ask, such as ucf.
    gone = sorted(came - after.packages.keys() - {context.spec.package_name})
    if gone and packages.purge_argv(context.spec) is not None:
        tidied = context.run(packages.remove_others_argv(gone)).ok
    if others := sorted({*came, *staying} - {*gone, context.spec.package_name}):
        tidied = context.run(packages.remove_others_argv(others)).ok and tidied
    if gone or others:
        after = take(context, TIDIED)
    after = _settled(context, before, after, rules)
    # Who owns what is only asked for where there is something to own.
    declared = context.seen.declared
    found = find_leftovers(before, after, rules, owned=frozenset(), archive=archive, declared=declared)
    if found:
        owned = _owned_files(context, after)
        found = find_leftovers(before, after, rules, owned=owned, archive=archive, declared=declared)
    if candidate is not None:
        found = _kept_on_purpose(context, candidate, found)
    if not tidied:
        return _answer(_doubted(one.finding, "; its dependencies cannot be removed") for one in found)
    if staying and any(one.finding.severity is not Severity.INFO for one in found):
        return _tried_without(context, found, staying, after)
    return _answer(one.finding for one in found)


def _answer(findings: Iterable[Finding]) -> StageAnswer:
    return StageAnswer(shown(dict.fromkeys(findings)))


def _settled(context: StageContext, before: Snapshot, after: Snapshot, rules: Rules) -> Snapshot:
    """The state once nothing runs that was only slow to end, or after a few seconds."""
    for _ in range(_LOOKS):
        if all(rules.of_process(process.command) for process in new_processes(before, after)):
            break
        context.stop.sleep(_LOOK_INTERVAL)
        after = look(context, "state of the machine noted: something still runs")
    return after


def _owned_files(context: StageContext, after: Snapshot) -> frozenset[str]:
    """The paths of all packages that are still there."""
    content = whole_output(context, context.packages.every_owned_file_argv(), "files of all packages listed")
    tree = Tree(after.files)
    listed = context.packages.read_every_owned_file(content.decode(errors="backslashreplace"))
    return frozenset(map(tree.place, listed))


def _kept_on_purpose(context: StageContext, candidate: Candidate, found: list[Leftover]) -> list[Leftover]:
    """Data that the package deletes only when it is told to, which nobody did, and whose they are."""
    packages, data = context.packages, [one for one in found if one.path.startswith(_DATA) and not one.changed]
    argv = packages.questions_argv(context.spec, candidate) if data else None
    question = packages.read_questions(context.run(argv, question=True)) if argv else ""
    if not question:
        return found
    why = f": {question} asks before data is deleted, and nobody has said yes"
    kept = {one.path for one in data}
    return [
        replace(one, finding=_excused(one.finding, why)) if one in data or one.home in kept else one for one in found
    ]


def _excused(finding: Finding, why: str) -> Finding:
    return replace(finding, severity=Severity.INFO, message=finding.message + why)


def _tried_without(
    context: StageContext, found: list[Leftover], dependencies: Mapping[str, str], after: Snapshot
) -> StageAnswer:
    """What the dependencies leave behind by themselves is not held against the package."""
    packages = context.packages
    suspects = [
        one for one in found if one.finding.kind is not Kind.MISSING_FILE and one.finding.severity is not Severity.INFO
    ]
    fresh = [one for one in suspects if not one.changed]
    paths = [one.path for one in fresh if one.path]
    names = [one.user or one.group for one in fresh if one.user or one.group]
    forget = ("/bin/sh", "-c", _FORGET, "sh", *paths, "--", *(name.replace(".", r"\.") for name in names))
    forgotten = context.run(forget).ok
    commands = {one.command for one in suspects if one.command}
    if pids := [str(process.pid) for process in after.processes if process.command in commands]:
        context.run(("/bin/sh", "-c", 'kill -KILL "$@"', "sh", *pids))
    done = context.run(packages.install_others_argv(dependencies))
    faults = packages.install_findings(context.spec, done)
    if ours := tuple(fault for fault in faults if fault.kind.ours):
        return StageAnswer(ours)
    removed = context.run(packages.remove_others_argv(dependencies)).ok
    again = look(context, "state of the machine noted: the same without the package")
    # What could not be taken away would look as if the dependencies had brought it again.
    if faults or not removed or not forgotten:
        return _answer(_doubted(one.finding, "; its dependencies cannot be tried without it") for one in found)
    return _answer(
        of_dependencies(one) if one in suspects and one.is_in(again, since=after) else one.finding for one in found
    )


def _doubted(finding: Finding, doubt: str) -> Finding:
    """It may be a dependency's: too little to fail for."""
    severity = Severity.WARNING if finding.severity is Severity.ERROR else finding.severity
    return replace(finding, severity=severity, message=finding.message + doubt)
