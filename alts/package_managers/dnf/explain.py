"""Explain why libsolv found no solution for a transaction. Pure.

All successors of yum print libsolv's rules unchanged (libsolv, solver_problemruleinfo2str), in one block per problem.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from alts.package_managers.dnf.names import bare_name
from alts.shared.models.report import Finding, Kind

_PROBLEM = re.compile(r"^ *Problem(?: \d+)?: (?P<rule>.*)$")
_RULE = re.compile(r"^ +- (?P<rule>.*)$")
_NOTHING_PROVIDES = re.compile(r"nothing provides (?P<need>.+) needed by (?P<package>\S+)(?: from \S+)?$")
_REQUIRES = re.compile(
    r"(?:installed )?package (?P<package>\S+)(?: from \S+)? requires (?P<need>.+), "
    r"but none of the providers can be installed$"
)
_CONFLICT = re.compile(
    r"(?:installed )?package (?P<package>\S+)(?: from \S+)? (?P<verb>conflicts with|obsoletes) "
    r"(?P<what>.+) provided by (?P<other>\S+)(?: from \S+)?$"
)
_NOT_BOTH = re.compile(r"cannot install both (?P<package>\S+)(?: from \S+)? and (?P<other>\S+)(?: from \S+)?$")
_PROTECTED = re.compile(r"The operation would result in removing the following protected packages: (?P<names>.*)$")
_LEFT_OUT = re.compile(
    r"package (?P<package>\S+)(?: from \S+)? (?P<why>is filtered out by .*|has inferior architecture)$"
)


def problem_findings(package: str, output: str, versions: Mapping[str, Sequence[str]]) -> tuple[Finding, ...]:
    """Return one finding per problem that prevents installing `package`.

    `versions` maps a missing need, e.g. "good >= 3", to the versions of "good" that the repositories have.
    """
    findings = (_finding(package, rules, versions) for rules in _problems(output))
    return tuple(dict.fromkeys(finding for finding in findings if finding))


def missing_needs(output: str) -> tuple[str, ...]:
    """Return each need that no repository provides, e.g. "good-noarch >= 3", once."""
    needs = [match["need"] for match in map(_NOTHING_PROVIDES.search, output.splitlines()) if match]
    return tuple(dict.fromkeys(needs))


def _problems(output: str) -> Iterator[list[str]]:
    """Yield the rules of each problem."""
    rules: list[str] = []
    for line in output.splitlines():
        if match := _PROBLEM.match(line):
            if rules:
                yield rules
            rules = [match["rule"]]
        elif rules and (match := _RULE.match(line)):
            rules.append(match["rule"])
        elif rules:
            yield rules
            rules = []
    if rules:
        yield rules


def _finding(package: str, rules: Sequence[str], versions: Mapping[str, Sequence[str]]) -> Finding | None:
    for rule in rules:
        if match := _NOTHING_PROVIDES.match(rule):
            name, need = bare_name(match["package"]), match["need"]
            message = ", ".join([*_way(package, name, rules), f"{name} needs {need}"])
            return Finding(kind=Kind.DEPENDENCY_UNMET, message=f"{message}: {_had(need, versions)}", evidence=rule)
    for rule in rules:
        if found := _conflict(package, rule, rules):
            return found
    for rule in rules:
        if match := _LEFT_OUT.match(rule):
            way = _way(package, bare_name(match["package"]), rules)
            message = ", ".join([*way, f"{bare_name(match['package'])} {match['why']}"])
            return Finding(kind=Kind.DEPENDENCY_UNMET, message=message, evidence=rule)
    for rule in rules:
        if match := _REQUIRES.match(rule):
            message = f"{bare_name(match['package'])} needs {match['need']}, which cannot be installed"
            return Finding(kind=Kind.DEPENDENCY_UNMET, message=message, evidence=rule)
    return None


def _had(need: str, versions: Mapping[str, Sequence[str]]) -> str:
    known = versions.get(need, ())
    if not known:
        return "no repository has it"
    return f"only {', '.join(known)} {'is' if len(known) == 1 else 'are'} available"


def _conflict(package: str, rule: str, rules: Sequence[str]) -> Finding | None:
    if match := _CONFLICT.match(rule):
        name, other = bare_name(match["package"]), bare_name(match["other"])
        via = "" if match["what"] == other else f" (provided by {other})"
        words = f"{name} {match['verb']} {match['what']}{via}"
    elif match := _NOT_BOTH.match(rule):
        name = bare_name(match["package"])
        words = f"{match['package']} and {match['other']} cannot be installed together"
    elif match := _PROTECTED.match(rule):
        name, words = package, f"installing {package} would remove protected packages: {match['names']}"
    else:
        return None
    message = ", ".join([*_way(package, name, rules), words])
    return Finding(kind=Kind.PACKAGE_CONFLICT, message=message, evidence=rule)


def _way(package: str, target: str, rules: Sequence[str]) -> list[str]:
    """Return the shortest chain from the package under test to another one: ["a needs b", "b needs libc.so.6 of c"].

    It is empty for the package itself, and if there is no chain.
    """
    needs: dict[str, list[str]] = {}
    for match in filter(None, map(_REQUIRES.match, rules)):
        needs.setdefault(bare_name(match["package"]), []).append(match["need"])
    ways: dict[str, list[str]] = {package: []}
    queue = [package]
    while queue and target not in ways:
        name = queue.pop(0)
        for following, need in _next(name, needs, target):
            if following not in ways:
                ways[following] = [*ways[name], f"{name} needs {need}"]
                queue.append(following)
    return ways.get(target, [])


def _next(name: str, needs: Mapping[str, Sequence[str]], target: str) -> Iterator[tuple[str, str]]:
    """Yield the packages in the problem that `name` needs, each with the words of the need.

    libsolv writes the need, not its provider. If no need is the name of a package in the problem, the provider must be
    the next package in it, because the rules go from the package downwards.
    """
    names = list(dict.fromkeys([*needs, target]))
    named = [(need.split(maxsplit=1)[0], need) for need in needs.get(name, ())]
    if direct := [(word, need) for word, need in named if word in names]:
        yield from direct
    elif named and names[-1] != name:
        following = names[names.index(name) + 1]
        yield following, f"{named[0][1]} of {following}"
