"""Queries that rpm's own database answers, the same on every RPM-based system. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial

from alts.core.command import Completed
from alts.package_managers.base import Exclusions, InstalledPackage, Operation, Query
from alts.package_managers.dnf import output as dnf_output
from alts.package_managers.dnf.versions import full_version
from alts.shared.models.report import Finding, Kind, Severity
from alts.shared.models.task_spec import TaskSpec

_PACKAGE_FORMAT = "%{NAME}|%{EPOCH}|%{VERSION}|%{RELEASE}|%{ARCH}\\n"
_FILES_FORMAT = "[%{FILEFLAGS:fflags}|%{FILESTATES}|%{FILENAMES}\\n]"
_OPTIONAL_TAGS = ("RECOMMENDNAME", "SUGGESTNAME", "SUPPLEMENTNAME", "ENHANCENAME")

# rpm lists an imported public key as a package of this name.
_KEY_PACKAGE = "gpg-pubkey"
_NOT_INSTALLED = "2"  # RPMFILE_STATE_NOTINSTALLED, e.g. documentation that the machine's settings leave out

# rpm(8), "VERIFY OPTIONS": nine tests, then the kind of the file if it has one.
_VERIFY_LINE = re.compile(
    r"^(?P<tests>missing|[SM5DLUGTP.?]{8,9})\s+(?:(?P<sort>[acdglr]) )?\s*(?P<path>/.*?)(?: \([A-Z][a-z ]+\))?$"
)
_TESTS: Mapping[str, str] = {
    "5": "content",
    "S": "size",
    "L": "link",
    "D": "device number",
    "M": "mode",
    "U": "owner",
    "G": "group",
    "P": "capabilities",
}


class RpmState:
    """The part of alts.package_managers.base.PackageManager that rpm answers without dnf."""

    def installed(self, spec: TaskSpec) -> Query[InstalledPackage | None]:
        """Read `rpm --query`. The last one is the newest, if several may be installed, e.g. kernels."""
        argv = ("rpm", "--query", f"--queryformat={_PACKAGE_FORMAT}", spec.package_name)
        return Query(argv, partial(_read_installed, spec.package_name))

    def says_absent(self, done: Completed) -> bool:
        """Look for rpm's words: it also exits with 1 if it cannot read its database."""
        return done.exit_code == 1 and "is not installed" in done.output

    def installed_packages(self) -> Query[Mapping[str, str]]:
        """Read `rpm --query --all`. A package of a foreign architecture is "name.architecture"."""
        return Query(("rpm", "--query", "--all", f"--queryformat={_PACKAGE_FORMAT}"), _read_packages)

    def unpurged(self, output: str) -> frozenset[str]:  # noqa: ARG002
        """Return nothing: rpm forgets every package that it removes."""
        return frozenset()

    def verify(self, spec: TaskSpec) -> Operation[tuple[Finding, ...]]:
        """Run `rpm --verify`, which also runs the package's %verifyscript."""
        return Operation(("rpm", "--verify", "--nodeps", spec.package_name), partial(_judge_verify, spec))

    def owned_files(self, spec: TaskSpec) -> Query[tuple[str, ...]]:
        """List the files, without %ghost and %config(missingok) files and files that the settings leave out."""
        return Query(("rpm", "--query", f"--queryformat={_FILES_FORMAT}", spec.package_name), _read_owned_files)

    def every_owned_file(self) -> Query[frozenset[str]]:
        """List the files of all packages, %ghost files included."""
        return Query(("rpm", "--query", "--all", "--queryformat=[%{FILENAMES}\\n]"), _read_every_owned_file)

    def exclusions(self) -> Query[Exclusions] | None:
        """Return None: rpm records for each file whether it was left out, and owned_files() reads that."""
        return None

    def optional(self, spec: TaskSpec) -> Query[frozenset[str]]:
        """Read the names of all weak dependencies, in both directions."""
        form = "".join(f"[%{{{tag}}}\\n]" for tag in _OPTIONAL_TAGS)
        return Query(("rpm", "--query", f"--queryformat={form}", spec.package_name), _read_optional)


def _read_installed(name: str, output: str) -> InstalledPackage | None:
    return next((package for package in reversed(list(_packages(output))) if package.name == name), None)


def _read_packages(output: str) -> Mapping[str, str]:
    """Map name to version. The machine's own architecture is the one that most packages have."""
    packages = [package for package in _packages(output) if package.name != _KEY_PACKAGE]
    counts = Counter(package.architecture for package in packages if package.architecture != "noarch")
    own = max(sorted(counts), key=lambda architecture: counts[architecture], default="")
    versions: dict[str, list[str]] = {}
    for package in packages:
        suffix = "" if package.architecture in (own, "noarch") else f".{package.architecture}"
        versions.setdefault(f"{package.name}{suffix}", []).append(package.version)
    return {name: ", ".join(sorted(found)) for name, found in sorted(versions.items())}


def _judge_verify(spec: TaskSpec, done: Completed) -> tuple[Finding, ...]:
    findings = (*_verify_findings(done.output), *dnf_output.scriptlet_findings(done.output))
    # rpm also fails if only the time of a file differs. That is no finding.
    if findings or done.ok or any(_VERIFY_LINE.match(line) for line in done.output.splitlines()):
        return findings
    message = f"rpm --verify could not check {spec.package_name}"
    return (Finding(kind=Kind.INTERNAL, message=message, evidence=done.tail(1)),)


def _read_owned_files(output: str) -> tuple[str, ...]:
    fields = [line.split("|", 2) for line in output.split("\n") if line.count("|") >= 2]
    return tuple(path for flags, state, path in fields if not {"g", "m"} & {*flags} and state != _NOT_INSTALLED)


def _read_every_owned_file(output: str) -> frozenset[str]:
    return frozenset(line for line in output.split("\n") if line.startswith("/"))


def _read_optional(output: str) -> frozenset[str]:
    """Read names, also from rich dependencies, e.g. "(gdb if gcc)"."""
    words = re.findall(r"[A-Za-z0-9_][A-Za-z0-9._+-]*", output)
    return frozenset(word for word in words if word not in ("if", "unless", "else", "and", "or", "with", "without"))


def _packages(output: str) -> Iterator[InstalledPackage]:
    for line in output.splitlines():
        fields = line.split("|")
        if len(fields) == 5:
            name, epoch, version, release, architecture = fields
            yield InstalledPackage(name, full_version(epoch, version, release), architecture)


def _verify_findings(output: str) -> Iterator[Finding]:
    for line in output.splitlines():
        match = _VERIFY_LINE.match(line)
        # The package ships only the name of a %ghost file. Others make it and set its mode.
        if match is None or match["sort"] == "g":
            continue
        if match["tests"] == "missing":
            yield Finding(kind=Kind.MISSING_FILE, message=f"{match['path']} is missing", evidence=line.strip())
        elif changed := [word for test, word in _TESTS.items() if test in match["tests"]]:
            # The package's own scripts may change a configuration file, as an administrator may.
            yield Finding(
                kind=Kind.MODIFIED_FILE,
                message=f"{match['path']} differs from the file in the package: {', '.join(changed)}",
                severity=Severity.WARNING if match["sort"] == "c" else Severity.ERROR,
                evidence=line.strip(),
            )
