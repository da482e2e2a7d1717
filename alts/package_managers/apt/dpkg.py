"""Queries that dpkg's own database answers. Pure."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from functools import partial

from alts.core.command import Completed
from alts.package_managers.apt import output as apt_output
from alts.package_managers.base import Exclusions, InstalledPackage, Operation, Query
from alts.shared.models.report import Finding, Kind
from alts.shared.models.task_spec import TaskSpec

# dpkg(1), --path-exclude: in a configuration file an option stands without its dashes, one per line.
_PATH_OPTION = re.compile(r"^\s*path-(?P<verb>exclude|include)\s*[=\s]\s*(?P<glob>\S+)\s*$")
_SETTINGS = 'for file in /etc/dpkg/dpkg.cfg /etc/dpkg/dpkg.cfg.d/*; do [ ! -e "$file" ] || cat "$file" || exit; done'
_RELATION_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")


class DpkgState:
    """The part of alts.package_managers.base.PackageManager that dpkg answers without apt."""

    def installed(self, spec: TaskSpec) -> Query[InstalledPackage | None]:
        """Read the state that dpkg records. A package with only its conffiles left is not installed."""
        return Query(
            ("dpkg-query", "--show", f"--showformat={apt_output.INSTALLED_FORMAT}", spec.package_name),
            partial(apt_output.read_installed, spec.package_name),
        )

    def says_absent(self, done: Completed) -> bool:
        """Look for exit code 1 with the words of dpkg-query, "no packages found matching NAME"."""
        return done.exit_code == 1 and "no packages found matching" in done.output

    def installed_packages(self) -> Query[Mapping[str, str]]:
        """Read dpkg's list. A package of a foreign architecture is "name:architecture"."""
        return Query(("dpkg-query", "--show", f"--showformat={apt_output.PACKAGES_FORMAT}"), apt_output.read_packages)

    def unpurged(self, output: str) -> frozenset[str]:
        """Read the packages of which dpkg has kept conffiles or a postrm script."""
        return apt_output.read_unpurged(output)

    def verify(self, spec: TaskSpec) -> Operation[tuple[Finding, ...]]:
        """Run `dpkg --verify`, which compares the checksums of files that have one."""
        argv = ("dpkg", "--verify", spec.package_name)
        return Operation(argv, partial(_verify_findings, spec), repeatable=True)

    def owned_files(self, spec: TaskSpec) -> Query[tuple[str, ...]]:
        """Run `dpkg-query --listfiles`, which also lists folders."""
        return Query(("dpkg-query", "--listfiles", spec.package_name), _read_owned_files)

    def every_owned_file(self) -> Query[frozenset[str]]:
        """Read dpkg's lists of files directly: dpkg-query has no option to list all packages at once."""
        return Query(("/bin/sh", "-c", "cat /var/lib/dpkg/info/*.list"), _read_every_owned_file)

    def exclusions(self) -> Query[Exclusions]:
        """Read the options path-exclude and path-include of dpkg.cfg(5)."""
        return Query(("/bin/sh", "-c", _SETTINGS), _read_exclusions)

    def optional(self, spec: TaskSpec) -> Query[frozenset[str]]:
        """Read Recommends, Suggests and Enhances."""
        fields = "${Recommends},${Suggests},${Enhances}\\n"
        return Query(("dpkg-query", "--show", f"--showformat={fields}", spec.package_name), _read_optional)


def _verify_findings(spec: TaskSpec, done: Completed) -> tuple[Finding, ...]:
    findings = tuple(apt_output.verify_findings(done.output))
    if findings or done.ok:
        return findings
    message = f"dpkg --verify could not check {spec.package_name}"
    return (Finding(kind=Kind.INTERNAL, message=message, evidence=done.tail(1)),)


def _read_owned_files(output: str) -> tuple[str, ...]:
    # "/." is the root folder. Lines about diversions do not begin with a path.
    return tuple(line for line in output.split("\n") if line.startswith("/") and line != "/.")


def _read_every_owned_file(output: str) -> frozenset[str]:
    return frozenset(line for line in output.split("\n") if line not in ("", "/."))


def _read_exclusions(output: str) -> Exclusions:
    """Read the settings. The last match wins, and `*` matches slashes too (dpkg(1))."""
    rules = [
        (match["verb"] == "exclude", re.compile(fnmatch.translate(match["glob"])))
        for line in output.splitlines()
        if (match := _PATH_OPTION.match(line))
    ]
    return lambda path: next((verdict for verdict, glob in reversed(rules) if glob.match(path)), False)


def _read_optional(output: str) -> frozenset[str]:
    """Read the names in relations, e.g. "python3-doc, www-browser | firefox-esr (>= 91)"."""
    words = re.split(r"[,|\n]", output)
    return frozenset(match[0] for word in words if (match := _RELATION_NAME.match(word.strip())))
