"""What rpm's own database says of packages and their files: argv and what their output means. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from alts.core.command import Completed
from alts.package_managers.base import Exclusions, InstalledPackage
from alts.package_managers.dnf import output as dnf_output
from alts.package_managers.dnf.versions import full_version
from alts.shared.models.report import Finding, Kind, Severity
from alts.shared.models.task_spec import TaskSpec

_PACKAGE_FORMAT = "%{NAME}|%{EPOCH}|%{VERSION}|%{RELEASE}|%{ARCH}\\n"
_FILES_FORMAT = "[%{FILEFLAGS:fflags}|%{FILESTATES}|%{FILENAMES}\\n]"
_OPTIONAL_TAGS = ("RECOMMENDNAME", "SUGGESTNAME", "SUPPLEMENTNAME", "ENHANCENAME")

# Public keys that somebody has imported look like packages to rpm.
_KEY_PACKAGE = "gpg-pubkey"
_NOT_INSTALLED = "2"  # RPMFILE_STATE_NOTINSTALLED, such as documentation that the machine does not want

# rpm(8), "VERIFY OPTIONS": nine tests, then perhaps what sort of file it is.
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
    """The part of PackageManager that rpm itself answers, alike on every RPM-based system."""

    def installed_argv(self, spec: TaskSpec) -> Sequence[str]:
        return ("rpm", "--query", f"--queryformat={_PACKAGE_FORMAT}", spec.package_name)

    def read_installed(self, spec: TaskSpec, done: Completed) -> InstalledPackage | None:
        # Of a package that may be there several times, such as a kernel, the last one is the newest.
        return next(
            (package for package in reversed(list(_packages(done.output))) if package.name == spec.package_name), None
        )

    def says_absent(self, done: Completed) -> bool:
        # It ends with 1 too where it cannot read its database.
        return done.exit_code == 1 and "is not installed" in done.output

    def packages_argv(self) -> Sequence[str]:
        return ("rpm", "--query", "--all", f"--queryformat={_PACKAGE_FORMAT}")

    def read_packages(self, done: Completed) -> Mapping[str, str]:
        """An architecture is foreign where most packages are of another."""
        packages = [package for package in _packages(done.output) if package.name != _KEY_PACKAGE]
        counts: dict[str, int] = {}
        for package in packages:
            if package.architecture != "noarch":
                counts[package.architecture] = counts.get(package.architecture, 0) + 1
        own = max(sorted(counts), key=lambda architecture: counts[architecture], default="")
        versions: dict[str, list[str]] = {}
        for package in packages:
            suffix = "" if package.architecture in (own, "noarch") else f".{package.architecture}"
            versions.setdefault(f"{package.name}{suffix}", []).append(package.version)
        return {name: ", ".join(sorted(found)) for name, found in sorted(versions.items())}

    def verify_argv(self, spec: TaskSpec) -> Sequence[str]:
        return ("rpm", "--verify", "--nodeps", spec.package_name)

    def verify_findings(self, spec: TaskSpec, done: Completed) -> tuple[Finding, ...]:
        findings = (*_verify_findings(done.output), *dnf_output.scriptlet_findings(done.output))
        # Only the time of a file may differ: then rpm says so, and there is nothing to find.
        if findings or done.ok or any(_VERIFY_LINE.match(line) for line in done.output.splitlines()):
            return findings
        return (
            Finding(
                kind=Kind.INTERNAL,
                message=f"rpm --verify could not check {spec.package_name}",
                evidence=done.tail(1),
            ),
        )

    def owned_files_argv(self, spec: TaskSpec) -> Sequence[str]:
        return ("rpm", "--query", f"--queryformat={_FILES_FORMAT}", spec.package_name)

    def read_owned_files(self, output: str) -> tuple[str, ...]:
        """But for %ghost files, which are made later if ever, those that are %config(missingok), and what the machine's
        settings have left out."""
        fields = [line.split("|", 2) for line in output.split("\n") if line.count("|") >= 2]
        return tuple(path for flags, state, path in fields if not {"g", "m"} & {*flags} and state != _NOT_INSTALLED)

    def every_owned_file_argv(self) -> Sequence[str]:
        return ("rpm", "--query", "--all", "--queryformat=[%{FILENAMES}\\n]")

    def read_every_owned_file(self, output: str) -> frozenset[str]:
        return frozenset(line for line in output.split("\n") if line.startswith("/"))

    def exclusions_argv(self) -> Sequence[str]:
        # What was left out is a state of each file in rpm's database: there are no rules to ask for.
        return ("true",)

    def read_exclusions(self, done: Completed) -> Exclusions:  # noqa: ARG002 - nothing is printed
        return lambda path: False  # noqa: ARG005

    def optional_argv(self, spec: TaskSpec) -> Sequence[str]:
        form = "".join(f"[%{{{tag}}}\\n]" for tag in _OPTIONAL_TAGS)
        return ("rpm", "--query", f"--queryformat={form}", spec.package_name)

    def read_optional(self, done: Completed) -> frozenset[str]:
        """Names, also from rich dependencies such as "(gdb if gcc)"."""
        words = re.findall(r"[A-Za-z0-9_][A-Za-z0-9._+-]*", done.output)
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
        # A %ghost file is made, and given its mode, by others: what the package has of it is a name.
        if match is None or match["sort"] == "g":
            continue
        if match["tests"] == "missing":
            yield Finding(kind=Kind.MISSING_FILE, message=f"{match['path']} is missing", evidence=line.strip())
        elif changed := [word for test, word in _TESTS.items() if test in match["tests"]]:
            # The package's own scripts may write a configuration file, as an administrator may.
            yield Finding(
                kind=Kind.MODIFIED_FILE,
                message=f"{match['path']} is not as it was shipped: {', '.join(changed)} differs",
                severity=Severity.WARNING if match["sort"] == "c" else Severity.ERROR,
                evidence=line.strip(),
            )
