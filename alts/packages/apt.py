"""apt and dpkg: argv to run, and what their output means. Pure.

Nothing here looks at translated text: every command runs with LC_ALL=C.UTF-8.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from alts.command import Completed
from alts.distributions import DISTRIBUTIONS
from alts.packages.base import Candidate, InstalledPackage, InstanceFile
from alts.shared.report import Finding, Kind, Severity
from alts.shared.spec import Repository, TaskSpec

_APT_GET = ("apt-get", "--yes", "--quiet", "--option=Dpkg::Use-Pty=0")

# Conffile questions cannot be answered here: keep the file that is there, as a careful administrator would, and take
# the package's own where none was touched (dpkg(1), --force-confdef).
_CONFFILES = ("--option=Dpkg::Options::=--force-confdef", "--option=Dpkg::Options::=--force-confold")

# Error-Mode: by default `apt-get update` exits 0 although a repository could not be fetched (apt-get(8), since 2.1).
_SETTINGS = """\
Acquire::Retries "3";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
Acquire::Languages "none";
APT::Update::Error-Mode "any";
"""

_INSTALLED_FORMAT = "${binary:Package}\\t${Version}\\t${Architecture}\\t${db:Status-Status}\\n"

# The version table of `apt-cache policy`: "     2.10-3 500", then "        500 http://deb.debian.org/... Packages".
_POLICY_CANDIDATE = re.compile(r"^  Candidate: (?P<version>\S+)$")
_POLICY_VERSION = re.compile(r"^ (?:\*\*\*|   ) (?P<version>[0-9]\S*)(?: -?\d+)?$")
_POLICY_ORIGIN = re.compile(r"^ {7,} *-?\d+ (?P<origin>(?!/var/lib/dpkg/status).+)$")
_FETCH_FAILED = re.compile(r"^[EW]: Failed to fetch (?P<url>\S+)\s+(?P<why>.*)$")
_BAD_CHECKSUM = re.compile(r"Hash Sum mismatch|File has unexpected size|Hashes of expected file", re.IGNORECASE)
_BAD_SIGNATURE = re.compile(
    r"^[EW]: (?:An error occurred during the signature verification|GPG error: |"
    r"The repository '.*' (?:is not signed|does not have a Release file|is no longer signed))"
)
_NO_RELEASE_FILE = re.compile(r"^E: The repository '(?P<source>.*)' does not have a Release file")
_UNKNOWN_NAME = re.compile(
    r"^E: (?:Unable to locate package |Couldn't find any package|Package '.*' has no installation)"
)
_UNKNOWN_VERSION = re.compile(r"^E: Version '.*' for '.*' was not found")
_UNMET = re.compile(r"^ (?P<package>\S+) : (?P<relation>[A-Za-z-]+): (?P<rest>.*)$")
_UNMET_MORE = re.compile(r"^ {3,}(?P<relation>Pre-Depends|Depends|Conflicts|Breaks): (?P<rest>.*)$")
_SCRIPTLET = re.compile(
    r"(?:installed|new|old) (?P<package>\S+) package (?P<script>[a-z-]+) script subprocess "
    r"(?:returned error exit status|was killed by signal|was interrupted)"
)
_OVERWRITE = re.compile(r"trying to overwrite (?:shared )?'(?P<path>[^']*)', which is (?:also|different)")
_DPKG_CONFLICT = re.compile(r"^dpkg: regarding .*(?:conflicts with|breaks) ")
_DISK_FULL = re.compile(r"No space left on device|You don't have enough free space")
_ESSENTIAL = re.compile(r"^E: (?:Essential packages were removed|Removing essential system-critical packages)")
_VERIFY_LINE = re.compile(r"^(?P<checks>missing|[?.5MSDLUGTPC]{9})\s+(?P<conffile>c )?\s*(?P<path>/.*?)(?: \(.*\))?$")


class Apt:
    """apt-get, apt-cache, dpkg and dpkg-query."""

    environment: Mapping[str, str] = {
        "DEBIAN_FRONTEND": "noninteractive",
        "DEBCONF_NONINTERACTIVE_SEEN": "true",
        "LC_ALL": "C.UTF-8",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    }

    def files(self, spec: TaskSpec) -> tuple[InstanceFile, ...]:
        sources = tuple(
            InstanceFile(f"/etc/apt/sources.list.d/alts-{number}.sources", deb822_source(repository))
            for number, repository in enumerate(spec.repositories, 1)
        )
        return (InstanceFile("/etc/apt/apt.conf.d/90alts", _SETTINGS), *sources)

    def version_argv(self) -> Sequence[str]:
        return ("apt-get", "--version")

    def read_version(self, output: str) -> str:
        words = output.split()
        return words[1] if len(words) > 1 and words[0] == "apt" else "unknown"

    def system_argv(self) -> Sequence[Sequence[str]]:
        return (
            ("cat", "/etc/os-release"),
            ("uname", "-a"),
            ("dpkg", "--print-architecture"),
            ("df", "-h", "/"),
            ("apt-cache", "policy"),
            ("dpkg-query", "--show", "--showformat=${binary:Package} ${Version}\\n"),
        )

    def refresh_argv(self) -> Sequence[str]:
        return ("apt-get", "--quiet", "update")

    def refresh_findings(self, spec: TaskSpec, done: Completed) -> tuple[Finding, ...]:
        findings = tuple(_repository_findings(spec, done.output))
        if findings or done.ok:
            return findings
        return (
            Finding(
                kind=Kind.REPOSITORY_UNREACHABLE,
                message="the package lists could not be fetched",
                evidence=_last_error(done.output),
            ),
        )

    def candidates_argv(self, spec: TaskSpec) -> Sequence[str]:
        return ("apt-cache", "policy", spec.package_name)

    def read_candidates(self, output: str) -> tuple[Candidate, ...]:
        """What `apt-cache policy` lists, the one that apt would take first; none for a purely virtual package."""
        preferred = ""
        candidates: dict[str, Candidate] = {}
        version = ""
        for line in output.splitlines():
            if match := _POLICY_CANDIDATE.match(line):
                preferred = match["version"]
            elif match := _POLICY_VERSION.match(line):
                version = match["version"]
                candidates[version] = Candidate(version, "")
            elif (match := _POLICY_ORIGIN.match(line)) and version and not candidates[version].origin:
                candidates[version] = Candidate(version, match["origin"])
        return tuple(sorted(candidates.values(), key=lambda candidate: candidate.version != preferred))

    def install_argv(self, spec: TaskSpec, candidate: Candidate) -> Sequence[str]:
        # Name and version in one word: a bare name that ends in "-" or "+" would be an order to remove or install
        # (apt-get(8)), and one that is not found would be tried as a regular expression.
        return (*_APT_GET, *_CONFFILES, "install", f"{spec.package_name}={candidate.version}")

    def install_findings(self, spec: TaskSpec, done: Completed) -> tuple[Finding, ...]:
        if done.ok:
            # What scripts print is theirs to choose: only where apt says that it failed does its output say why.
            return ()
        findings = tuple(_transaction_findings(spec, done.output))
        if findings:
            return findings
        return (
            Finding(
                kind=Kind.INSTALL_FAILED,
                message=f"{spec.package_name} could not be installed",
                evidence=_last_error(done.output),
            ),
        )

    def installed_argv(self, spec: TaskSpec) -> Sequence[str]:
        return ("dpkg-query", "--show", f"--showformat={_INSTALLED_FORMAT}", spec.package_name)

    def read_installed(self, spec: TaskSpec, done: Completed) -> InstalledPackage | None:
        for line in done.output.splitlines():
            fields = line.split("\t")
            # "name:arch" is how dpkg-query shows a Multi-Arch: same package
            if len(fields) == 4 and fields[0].split(":")[0] == spec.package_name and fields[3] == "installed":
                return InstalledPackage(spec.package_name, fields[1], fields[2])
        return None

    def verify_argv(self, spec: TaskSpec) -> Sequence[str]:
        return ("dpkg", "--verify", spec.package_name)

    def verify_findings(self, spec: TaskSpec, done: Completed) -> tuple[Finding, ...]:
        findings = tuple(_verify_findings(done.output))
        if findings or done.ok:
            return findings
        return (
            Finding(
                kind=Kind.INTERNAL,
                message=f"dpkg --verify could not check {spec.package_name}",
                evidence=done.tail(1),
            ),
        )

    def remove_argv(self, spec: TaskSpec) -> Sequence[str]:
        return (*_APT_GET, "remove", "--", spec.package_name)

    def remove_findings(self, spec: TaskSpec, done: Completed) -> tuple[Finding, ...]:
        if done.ok:
            return ()
        findings = tuple(_scriptlet_findings(done.output))
        if findings:
            return findings
        return (
            Finding(
                kind=Kind.REMOVAL_FAILED,
                message=f"{spec.package_name} could not be removed",
                evidence=_last_error(done.output),
            ),
        )

    def removal_refused(self, done: Completed) -> str:
        """Why the system cannot do without the package, as one plain line; empty where it can."""
        line = _first_line(_ESSENTIAL, done.output)
        return "removing it would remove essential packages" if line and not done.ok else ""


def deb822_source(repository: Repository) -> str:
    """A stanza for sources.list.d (sources.list(5), DEB822-STYLE FORMAT)."""
    url, suite, components = repository.source
    lines = [f"Types: deb\nURIs: {url}\nSuites: {suite}\n"]
    if components:
        lines.append(f"Components: {' '.join(components)}\n")
    if repository.trusted:
        lines.append("Trusted: yes\n")
    return "".join(lines)


def _repository_findings(spec: TaskSpec, output: str) -> Iterator[Finding]:
    """Trouble with repositories: who brought the repository decides whose fault a bad signature or checksum is."""
    seen = set()
    for line in output.splitlines():
        if _DISK_FULL.search(line):
            finding = Finding(kind=Kind.DISK_FULL, message="the machine's disk is full", evidence=line.strip())
        elif match := _NO_RELEASE_FILE.match(line):
            finding = _unreachable(match["source"], line)
        elif _BAD_SIGNATURE.match(line):
            finding = _untrusted(spec, line)
        elif match := _FETCH_FAILED.match(line):
            finding = _fetch_failed(spec, match["url"], line)
        else:
            continue
        if finding not in seen:
            seen.add(finding)
            yield finding


def _untrusted(spec: TaskSpec, line: str) -> Finding:
    brought = _brought_by_task(spec, line)
    return Finding(
        kind=Kind.SIGNATURE_INVALID if brought else Kind.REPOSITORY_UNREACHABLE,
        message=f"the repository {brought or 'of the distribution'} is not signed by a key that is trusted",
        evidence=line.strip(),
    )


def _fetch_failed(spec: TaskSpec, url: str, line: str) -> Finding:
    brought = _brought_by_task(spec, url)
    if _BAD_CHECKSUM.search(line) and brought:
        return Finding(
            kind=Kind.CHECKSUM_MISMATCH,
            message=f"{url} is not what the index of {brought} promises",
            evidence=line.strip(),
        )
    return _unreachable(url, line)


def _unreachable(source: str, line: str) -> Finding:
    return Finding(
        kind=Kind.REPOSITORY_UNREACHABLE,
        message=f"the repository could not be read: {source}",
        evidence=line.strip(),
    )


def _brought_by_task(spec: TaskSpec, text: str) -> str:
    """The URL of the task's own repository that the text names; empty where it names none.

    A repository of the distribution is the distribution's trouble, whoever else names it.
    """
    own = {archive.rstrip("/") for archive in DISTRIBUTIONS[spec.dist_name].archives}
    urls = (repository.source[0].rstrip("/") for repository in spec.repositories)
    # Up to where the URL ends: http://host/debian is not http://host/debian-security.
    return next((url for url in urls if url not in own and re.search(rf"{re.escape(url)}(?=[/\s']|$)", text)), "")


def _transaction_findings(spec: TaskSpec, output: str) -> Iterator[Finding]:
    yield from _repository_findings(spec, output)
    for line in output.splitlines():
        if _UNKNOWN_NAME.match(line):
            yield _about(spec, Kind.PACKAGE_NOT_FOUND, "no repository has the package", line)
        elif _UNKNOWN_VERSION.match(line):
            yield _about(spec, Kind.VERSION_NOT_AVAILABLE, "no repository has that version", line)
        elif match := _OVERWRITE.search(line):
            message = f"a file of it is another package's: {match['path']}"
            yield _about(spec, Kind.FILE_CONFLICT, message, line)
        elif _DPKG_CONFLICT.match(line):
            yield _about(spec, Kind.PACKAGE_CONFLICT, "conflicts with an installed package", line)
    yield from _scriptlet_findings(output)
    yield from _unmet_findings(output)


def _about(spec: TaskSpec, kind: Kind, message: str, line: str) -> Finding:
    return Finding(kind=kind, message=f"{spec.package_name}: {message}", evidence=line.strip())


def _scriptlet_findings(output: str) -> Iterator[Finding]:
    for line in output.splitlines():
        if match := _SCRIPTLET.search(line):
            yield Finding(
                kind=Kind.SCRIPTLET_FAILED,
                message=f"{match['package']}: its {match['script']} script failed",
                evidence=line.strip(),
            )


def _unmet_findings(output: str) -> Iterator[Finding]:
    """The block that apt prints after "The following packages have unmet dependencies:"."""
    _, found, block = output.partition("The following packages have unmet dependencies:\n")
    if not found:
        return
    package = ""
    for line in block.splitlines():
        match = _UNMET.match(line) or _UNMET_MORE.match(line)
        if not match:
            return
        package = match.groupdict().get("package", package)
        relation, rest = match["relation"], match["rest"]
        conflict = relation in ("Conflicts", "Breaks")
        yield Finding(
            kind=Kind.PACKAGE_CONFLICT if conflict else Kind.DEPENDENCY_UNMET,
            message=f"{package}: {relation} {rest}",
            evidence=line.strip(),
        )


def _verify_findings(output: str) -> Iterator[Finding]:
    for line in output.splitlines():
        match = _VERIFY_LINE.match(line)
        if match is None:
            continue
        if match["checks"] == "missing":
            yield Finding(kind=Kind.MISSING_FILE, message=f"{match['path']} is missing", evidence=line.strip())
        elif "5" in match["checks"]:
            # A conffile may be written by the package's own scripts (Debian Policy 10.7.3 forbids it, as advice).
            yield Finding(
                kind=Kind.MODIFIED_FILE,
                message=f"{match['path']} is not as it was shipped",
                severity=Severity.WARNING if match["conffile"] else Severity.ERROR,
                evidence=line.strip(),
            )


def _first_line(pattern: re.Pattern[str], output: str) -> str:
    return next((line for line in output.splitlines() if pattern.match(line)), "")


def _last_error(output: str) -> str:
    """The last line that apt or dpkg calls an error, else the last line at all."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E:", "dpkg: error"))]
    return (errors or lines or [""])[-1]
