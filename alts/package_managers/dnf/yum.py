"""yum 3, of CentOS 7: its differences from dnf. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from functools import partial

from alts.core.command import Completed
from alts.package_managers.base import Candidate, Identity, InstalledPackage, Queries, Query
from alts.package_managers.dnf.identity import find_files_argv, read_file
from alts.package_managers.dnf.manager import Dnf
from alts.package_managers.dnf.sources import BROUGHT, KnownRepository
from alts.package_managers.dnf.versions import version_key
from alts.shared.models.report import Finding, Kind
from alts.shared.models.task_spec import TaskSpec

# "Error: Package: bad-1.0-1.noarch (alts-1)", then "           Requires: nothing-has-this >= 7".
_REQUIRER = re.compile(r"^Error: Package: (?P<package>\S+)")
_REQUIRES = re.compile(r"^ +Requires: (?P<need>.+)$")
# "hello.x86_64                 2.10-3.el7                 base"
_LISTED = re.compile(r"^(?P<name>\S+)\.(?P<arch>\w+)\s+(?P<version>\S+)\s+(?P<repository>\S+)$")
# After a long name the row continues on the next line.
_WRAPPED = re.compile(r"\n[ \t]+")
# yum exits with 1 if there is nothing to list (yum's cli.py, returnPkgLists).
_LIST = """\
said=$("$@" 2>&1)
code=$?
printf '%s\\n' "$said"
case $said in *'No matching Packages to list'*) exit 0 ;; esac
exit $code
"""


class Yum(Dnf):
    """yum 3 has no query command in a minimal system, so it proves less of an identity."""

    program = "yum"
    brought_alone = ("--disablerepo=*", f"--enablerepo={BROUGHT}")

    def candidates(self, spec: TaskSpec) -> Query[tuple[Candidate, ...]]:
        """Read `yum list available`, the newest version first."""
        query = (self.program, "--quiet", "--cacheonly", "--showduplicates", "list", "available", spec.package_name)
        return Query(("/bin/sh", "-c", _LIST, "sh", *query), partial(_read_candidates, spec.package_name))

    def identity(self, installed: InstalledPackage, candidate: Candidate) -> Queries[Identity]:  # noqa: ARG002
        """Find the file in the cache and the repository's id in `yum list installed`. The index is not asked."""
        listed = (self.program, "--quiet", "list", "installed", installed.name)
        return Queries((listed, find_files_argv(installed)), partial(self._read_identity, installed))

    def why(self, spec: TaskSpec, failed: Completed) -> Queries[tuple[Finding, ...]]:  # noqa: ARG002
        """Ask nothing: the findings of install() have yum's own words."""
        return Queries((), lambda outputs: ())  # noqa: ARG005

    def _read_identity(self, package: InstalledPackage, outputs: Sequence[str]) -> Identity:
        listed, files = outputs
        repository = _from_repository(package.name, listed)
        sha256, path = read_file(package, files, repository)
        return Identity(
            name=package.name,
            version=package.version,
            architecture=package.architecture,
            repository=repository,
            file=posixpath.basename(path),
            sha256=sha256,
            promised_sha256="",
        )

    def _makecache(self, *options: str) -> Sequence[str]:
        return self._run(*options, "makecache")

    def _install_findings(self, spec: TaskSpec, done: Completed) -> tuple[Finding, ...]:
        findings = super()._install_findings(spec, done)
        if done.ok or all(finding.kind is not Kind.INSTALL_FAILED for finding in findings):
            return findings
        return tuple(_unmet(done.output)) or findings


def _read_candidates(name: str, output: str) -> tuple[Candidate, ...]:
    listed = [match for match in map(_LISTED.match, _WRAPPED.sub(" ", output).splitlines()) if match]
    # yum, too, takes "foo-1" for version 1 of "foo".
    rows = [match for match in listed if match["name"] == name]
    rows.sort(key=lambda match: version_key(match["version"]), reverse=True)
    candidates: dict[str, Candidate] = {}
    for match in rows:
        origin = KnownRepository(match["repository"], "", 99).origin
        candidates.setdefault(match["version"], Candidate(match["version"], origin))
    return tuple(candidates.values())


def _from_repository(name: str, output: str) -> str:
    """Read the repository's id from `yum list installed`, which writes it as "@base"."""
    rows = (match for match in map(_LISTED.match, output.splitlines()) if match)
    return next((match["repository"].lstrip("@") for match in rows if match["name"] == name), "")


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
