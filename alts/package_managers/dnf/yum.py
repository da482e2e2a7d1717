"""yum 3, of CentOS 7: what it does otherwise than its successors. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from alts.core.command import Completed
from alts.package_managers import served
from alts.package_managers.base import Candidate, Identity
from alts.package_managers.dnf.manager import Dnf
from alts.package_managers.dnf.sources import KnownRepository
from alts.package_managers.dnf.versions import version_key
from alts.shared.models.report import Finding, Kind
from alts.shared.models.task_spec import TaskSpec

# "Error: Package: bad-1.0-1.noarch (alts-1)", then "           Requires: nothing-has-this >= 7".
_REQUIRER = re.compile(r"^Error: Package: (?P<package>\S+)")
_REQUIRES = re.compile(r"^ +Requires: (?P<need>.+)$")
# "hello.x86_64                 2.10-3.el7                 base"
_LISTED = re.compile(r"^(?P<name>\S+)\.(?P<arch>\w+)\s+(?P<version>\S+)\s+(?P<repository>\S+)$")
# A row whose name is long goes on in the next line.
_WRAPPED = re.compile(r"\n[ \t]+")
# Nothing to list is an error to yum, with 1 as its exit code (yum's cli.py, returnPkgLists).
_LIST = """\
said=$("$@" 2>&1)
code=$?
printf '%s\\n' "$said"
case $said in *'No matching Packages to list'*) exit 0 ;; esac
exit $code
"""


class Yum(Dnf):
    """yum 3 has no query of its own in a minimal system, so that less of an identity can be proved."""

    program = "yum"

    def refresh_argv(self) -> Sequence[str]:
        return ("/bin/sh", "-c", served.BOUNDED, "sh", *self._run("makecache"))

    def candidates_argv(self, spec: TaskSpec) -> Sequence[str]:
        query = (self.program, "--quiet", "--cacheonly", "--showduplicates", "list", "available", spec.package_name)
        return ("/bin/sh", "-c", _LIST, "sh", *query)

    def read_candidates(self, spec: TaskSpec, output: str) -> tuple[Candidate, ...]:
        listed = [match for match in map(_LISTED.match, _WRAPPED.sub(" ", output).splitlines()) if match]
        # yum, too, takes "foo-1" for version 1 of "foo".
        rows = [match for match in listed if match["name"] == spec.package_name]
        rows.sort(key=lambda match: version_key(match["version"]), reverse=True)
        candidates: dict[str, Candidate] = {}
        for match in rows:
            origin = KnownRepository(match["repository"], "", 99).origin
            candidates.setdefault(match["version"], Candidate(match["version"], origin))
        return tuple(candidates.values())

    def identity_argv(self, spec: TaskSpec, candidate: Candidate) -> Sequence[Sequence[str]]:
        installed, _, _, files = super().identity_argv(spec, candidate)
        return (installed, (self.program, "--quiet", "list", "installed", spec.package_name), files)

    def read_identity(self, spec: TaskSpec, candidate: Candidate, done: Sequence[Completed]) -> Identity:
        installed, source, files = done
        rows = (match for match in map(_LISTED.match, source.output.splitlines()) if match)
        listed = next((match for match in rows if match["name"] == spec.package_name), None)
        words = f"{spec.package_name}|{listed['repository']}" if listed else ""
        told = Completed(argv=source.argv, exit_code=0, output=words, seconds=0.0)
        nothing = Completed(argv=source.argv, exit_code=0, output="", seconds=0.0)
        return super().read_identity(spec, candidate, (installed, told, nothing, files))

    def install_findings(self, spec: TaskSpec, done: Completed) -> tuple[Finding, ...]:
        findings = super().install_findings(spec, done)
        if done.ok or all(finding.kind is not Kind.INSTALL_FAILED for finding in findings):
            return findings
        return tuple(_unmet(done.output)) or findings

    def why_argv(self, spec: TaskSpec, failed: Completed) -> Sequence[Sequence[str]]:  # noqa: ARG002
        return ()


def _unmet(output: str) -> list[Finding]:
    package, findings = "", []
    for line in output.splitlines():
        if match := _REQUIRER.match(line):
            package = match["package"]
        elif package and (match := _REQUIRES.match(line)):
            findings.append(
                Finding(
                    kind=Kind.DEPENDENCY_UNMET,
                    message=f"{package} needs {match['need']}: no repository has it",
                    evidence=line.strip(),
                )
            )
            package = ""
    return findings
