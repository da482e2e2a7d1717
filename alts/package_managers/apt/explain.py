"""Why apt could not satisfy a dependency, in plain words: the shortest chain from the package to what is at fault."""

from __future__ import annotations

import itertools
import re
from collections import deque
from collections.abc import Mapping, Sequence

from alts.core.command import Completed
from alts.package_managers.apt.dpkg import APT_CACHE
from alts.package_managers.apt.output import CONFLICTS, Unmet, read_policies, read_unmet
from alts.package_managers.apt.versions import satisfies
from alts.shared.models.report import Finding, Kind
from alts.shared.models.task_spec import TaskSpec

_NAME_LIMIT = 100  # packages that apt is asked about at once

# `apt-cache depends --recurse`: a package, then " |Depends: <one>", and deeper in who provides it.
_PACKAGE = re.compile(r"^(?P<name>[^\s<]\S*)$")
_NEEDS = re.compile(r"^ [ |](?:Pre)?Depends: <?(?P<name>[^\s<>]+)>?$")
_PROVIDER = re.compile(r"^ {4}(?P<name>\S+)$")
_BUT_VERSION = re.compile(r"^(?P<version>\S+) is (?:to be )?installed$")
_OF_ANOTHER_ARCHITECTURE = re.compile(r"\S+:\S")
_RELATION = re.compile(r"^(?P<relation>Conflicts|Breaks): (?P<names>.+)$", re.MULTILINE)


def why_argv(spec: TaskSpec, failed: Completed) -> Sequence[Sequence[str]]:
    """Who depends on whom, what there is of what is missing, and the package's own words; none where all was met."""
    unmet = read_unmet(failed.output)
    if not unmet:
        return ()
    missing = sorted({_name(wanted) for one in unmet for wanted, _ in one.alternatives})[:_NAME_LIMIT]
    depends = (*APT_CACHE, "depends", "--recurse", *(f"--no-{relation}" for relation in _NOT_ASKED), spec.package_name)
    return (depends, (*APT_CACHE, "policy", *missing), (*APT_CACHE, "show", "--no-all-versions", spec.package_name))


_NOT_ASKED = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")


def read_why(spec: TaskSpec, failed: Completed, done: Sequence[Completed]) -> tuple[Finding, ...]:
    """One finding for each thing that the package needs in the end and cannot have, sorted by what they say."""
    unmet = read_unmet(failed.output)
    if not unmet or len(done) != len(why_argv(spec, failed)):
        return ()
    depends, policy, show = (one.output for one in done)
    paths = _paths(spec.package_name, _graph(depends))
    candidates = read_policies(policy)
    reached = [one for one in unmet if one.package in paths]
    if not reached:
        return (_beside_the_system(spec, unmet, show),)
    findings = {
        Finding(
            kind=Kind.PACKAGE_CONFLICT if one.relation in CONFLICTS else Kind.DEPENDENCY_UNMET,
            message=_sentence(paths[one.package], one, candidates),
            evidence=f"{one.package} : {one.relation}: {one.text}",
        )
        for one in _roots(reached, candidates)
    }
    return tuple(sorted(findings, key=lambda finding: (finding.message, finding.evidence)))


def _graph(depends: str) -> Mapping[str, Sequence[str]]:
    """Package → what it depends on, and who provides that where it is virtual; in apt's order."""
    graph: dict[str, list[str]] = {}
    needs: list[str] = []
    for line in depends.splitlines():
        if match := _PACKAGE.match(line):
            needs = graph.setdefault(_name(match["name"]), [])
        elif match := _NEEDS.match(line) or _PROVIDER.match(line):
            needs.append(_name(match["name"]))
    return graph


def _paths(root: str, graph: Mapping[str, Sequence[str]]) -> Mapping[str, tuple[str, ...]]:
    """Package → the shortest way to it, ("root", ..., "package")."""
    paths: dict[str, tuple[str, ...]] = {root: (root,)}
    waiting = deque([root])
    while waiting:
        package = waiting.popleft()
        for needed in graph.get(package, ()):
            if needed not in paths:
                paths[needed] = (*paths[package], needed)
                waiting.append(needed)
    return paths


def _roots(unmet: Sequence[Unmet], candidates: Mapping[str, str]) -> Sequence[Unmet]:
    """What is at fault itself: not what only needs another that is listed, nor what only comes of the others."""
    blamed = {one.package for one in unmet}
    plain = [one for one in unmet if any(_name(wanted) not in blamed for wanted, _ in one.alternatives)]
    certain = [one for one in plain if not all(_together(*option, candidates) for option in one.alternatives)]
    return certain or plain or unmet


def _together(wanted: str, said: str, candidates: Mapping[str, str]) -> bool:
    """Whether the wanted one could be had but for the rest."""
    version = candidates.get(_name(wanted), "")
    return said.endswith("going to be installed") and bool(version) and satisfies(wanted, version)


def _sentence(path: Sequence[str], unmet: Unmet, candidates: Mapping[str, str]) -> str:
    steps = [f"{one} needs {other}" for one, other in itertools.pairwise(path)]
    if unmet.relation in CONFLICTS:
        verb = "conflicts with" if unmet.relation == "Conflicts" else "breaks"
        wanted, said = unmet.alternatives[0]
        return ", ".join([*steps, f"{unmet.package} {verb} {wanted}, but {said}"])
    options = [f"{wanted}: {_reason(wanted, said, candidates)}" for wanted, said in unmet.alternatives]
    return ", ".join([*steps, f"{unmet.package} needs {', or '.join(options)}"])


def _reason(wanted: str, said: str, candidates: Mapping[str, str]) -> str:
    version = candidates.get(_name(wanted), "")
    if _OF_ANOTHER_ARCHITECTURE.match(wanted) and said.endswith("is not installable"):
        # The candidate is this architecture's.
        return "no repository has it"
    if match := _BUT_VERSION.match(said):
        return f"only {match['version']} can be had"
    if version and not satisfies(wanted, version):
        return f"only {version} can be had"
    if version:
        return "it cannot be installed together with the rest"
    if not said:
        # apt says nothing of a virtual package that has providers.
        return "what provides it cannot be installed together with the rest"
    return "no repository has it"


def _beside_the_system(spec: TaskSpec, unmet: Sequence[Unmet], show: str) -> Finding:
    """Packages of the machine would lose what they need, and the package needs none of them."""
    relations = sorted(match[0] for match in _RELATION.finditer(show))
    words = f" ({'; '.join(relations)})" if relations else ""
    first = unmet[0]
    return Finding(
        kind=Kind.PACKAGE_CONFLICT,
        message=f"{spec.package_name} cannot be installed beside what the machine needs{words}",
        evidence=f"{first.package} : {first.relation}: {first.text}",
    )


def _name(requirement: str) -> str:
    """ "libfoo2:amd64 (>= 3)" → "libfoo2"."""
    return requirement.partition(" ")[0].partition(":")[0]
