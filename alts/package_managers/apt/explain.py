"""Explain why apt could not satisfy a dependency: the shortest chain from the package to each cause. Pure."""

from __future__ import annotations

import itertools
import re
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial

from alts.package_managers.apt.output import CONFLICTS, Unmet, read_policies, read_unmet
from alts.package_managers.apt.programs import APT_CACHE
from alts.package_managers.apt.versions import satisfies
from alts.package_managers.base import Queries
from alts.shared.models.report import Finding, Kind
from alts.shared.models.task_spec import TaskSpec

_NAME_LIMIT = 100  # names in one `apt-cache policy`
_NOT_ASKED = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")

# `apt-cache depends --recurse`: a package, then " |Depends: <one>", and below a virtual one its providers, indented.
_PACKAGE = re.compile(r"^(?P<name>[^\s<]\S*)$")
_NEEDS = re.compile(r"^ [ |](?:Pre)?Depends: <?(?P<name>[^\s<>]+)>?$")
_PROVIDER = re.compile(r"^ {4}(?P<name>\S+)$")
_BUT_VERSION = re.compile(r"^(?P<version>\S+) is (?:to be )?installed$")
_OF_ANOTHER_ARCHITECTURE = re.compile(r"\S+:\S")
_RELATION = re.compile(r"^(?P<relation>Conflicts|Breaks): (?P<names>.+)$", re.MULTILINE)


def queries(spec: TaskSpec, failed: str) -> Queries[tuple[Finding, ...]]:
    """Ask for the dependencies, the candidates of all missing names, and the package's own record.

    `failed` is the output of the installation. If it lists nothing unmet, there is no command to run and no finding.
    """
    unmet = read_unmet(failed)
    if not unmet:
        return Queries((), lambda outputs: ())  # noqa: ARG005
    missing = sorted({_name(wanted) for one in unmet for wanted, _ in one.alternatives})[:_NAME_LIMIT]
    depends = (*APT_CACHE, "depends", "--recurse", *(f"--no-{relation}" for relation in _NOT_ASKED), spec.package_name)
    show = (*APT_CACHE, "show", "--no-all-versions", spec.package_name)
    return Queries((depends, (*APT_CACHE, "policy", *missing), show), partial(_read, spec, unmet))


def _read(spec: TaskSpec, unmet: Sequence[Unmet], outputs: Sequence[str]) -> tuple[Finding, ...]:
    """Return a finding per cause, sorted by message."""
    depends, policy, show = outputs
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
    """Map each package to its dependencies and to the providers of virtual ones, in apt's order."""
    graph: dict[str, list[str]] = {}
    needs: list[str] = []
    for line in depends.splitlines():
        if match := _PACKAGE.match(line):
            needs = graph.setdefault(_name(match["name"]), [])
        elif match := _NEEDS.match(line) or _PROVIDER.match(line):
            needs.append(_name(match["name"]))
    return graph


def _paths(root: str, graph: Mapping[str, Sequence[str]]) -> Mapping[str, tuple[str, ...]]:
    """Map each reachable package to the shortest way to it, ("root", ..., "package")."""
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
    """Keep the causes: leave out the relations that fail only because another listed one fails."""
    blamed = {one.package for one in unmet}
    plain = [one for one in unmet if any(_name(wanted) not in blamed for wanted, _ in one.alternatives)]
    certain = [one for one in plain if not all(_together(*option, candidates) for option in one.alternatives)]
    return certain or plain or unmet


def _together(wanted: str, said: str, candidates: Mapping[str, str]) -> bool:
    """Tell whether the candidate meets the requirement, so that only the other packages prevent it."""
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
        # The candidate is of the machine's own architecture.
        return "no repository has it"
    if match := _BUT_VERSION.match(said):
        return f"only {match['version']} is available"
    if version and not satisfies(wanted, version):
        return f"only {version} is available"
    if version:
        return "apt cannot install it together with the other packages"
    if not said:
        # apt comments nothing on a virtual package that has providers.
        return "apt cannot install any package that provides it"
    return "no repository has it"


def _beside_the_system(spec: TaskSpec, unmet: Sequence[Unmet], show: str) -> Finding:
    """Report a conflict with packages of the machine that the package itself does not depend on."""
    relations = sorted(match[0] for match in _RELATION.finditer(show))
    words = f" ({'; '.join(relations)})" if relations else ""
    first = unmet[0]
    return Finding(
        kind=Kind.PACKAGE_CONFLICT,
        message=f"installing {spec.package_name} would break packages of the machine{words}",
        evidence=f"{first.package} : {first.relation}: {first.text}",
    )


def _name(requirement: str) -> str:
    """Return the name in a requirement: "libfoo2" for "libfoo2:amd64 (>= 3)"."""
    return requirement.partition(" ")[0].partition(":")[0]
