"""Read the untranslated output of apt and dpkg. Recorded on Debian 11, 12 and 13."""

from __future__ import annotations

import itertools
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from alts.core.command import Completed
from alts.package_managers.apt.downloads import brought_by_task, repository_findings
from alts.package_managers.apt.sources import ARCHIVES
from alts.package_managers.apt.stanzas import read_stanzas
from alts.package_managers.base import Candidate, Identity, InstalledPackage
from alts.shared.models.report import Finding, Kind, Severity
from alts.shared.models.task_spec import TaskSpec

INSTALLED_FORMAT = "${binary:Package}\\t${Version}\\t${Architecture}\\t${db:Status-Status}\\n"
PACKAGES_FORMAT = "${Package}\\t${Version}\\t${Architecture}\\t${db:Status-Status}\\n"

# The version table of `apt-cache policy`: "     2.10-3 500", on Ubuntu also "     2.10-3 500 (phased 10%)", then
# "        500 http://deb.debian.org/... Packages".
_POLICY_NAME = re.compile(r"^(?P<name>[a-z0-9][^\s:]*):$")
_POLICY_CANDIDATE = re.compile(r"^  Candidate: (?P<version>\S+)$")
_POLICY_VERSION = re.compile(r"^ (?P<mark>\*\*\*|   ) (?P<version>[0-9]\S*)(?: -?\d+)?(?: \(phased \d+%\))?$")
_POLICY_ORIGIN = re.compile(r"^ {7,} *-?\d+ (?P<origin>(?!/var/lib/dpkg/status).+)$")

# The steps of `apt-get --simulate`: "Purg hello [2.10-3]", "Remv libc6:i386 [2.36-9]".
_STEP = re.compile(r"^(?P<step>Inst|Conf|Remv|Purg) (?P<name>\S+)")

_UNKNOWN_NAME = re.compile(
    r"^E: (?:Unable to locate package |Couldn't find any package|Package '.*' has no installation)"
)
_UNKNOWN_VERSION = re.compile(r"^E: Version '.*' for '.*' was not found")
_UNMET = re.compile(r"^ (?P<package>\S+) : (?P<relation>[A-Za-z-]+): (?P<rest>.*)$")
_UNMET_MORE = re.compile(r"^ {3,}(?P<relation>PreDepends|Depends|Recommends|Conflicts|Breaks): (?P<rest>.*)$")
_UNMET_OR = re.compile(r"^ {8,}(?P<rest>\S.*)$")
_SCRIPTLET = re.compile(
    r"(?:installed|new|old) (?P<package>\S+) package (?P<script>[a-z-]+) script subprocess "
    r"(?P<how>returned error exit status(?: (?P<status>\d+))?|failed|was killed by signal|was interrupted)"
)
# The engine mounts these files into the container, and no process in it can replace them. Any script can print the
# words, so they count only for the distribution's own packages.
_MOUNTED = re.compile(r"'?(?P<path>/etc/(?:resolv\.conf|hosts|hostname))'?: Device or resource busy$", re.MULTILINE)
_OVERWRITE = re.compile(
    r"trying to overwrite (?:directory |shared )?'(?P<path>[^']*)'(?:, which is (?:also|different)| in package )"
)
_DPKG_CONFLICT = re.compile(r"^dpkg: regarding .*(?:conflicts with|breaks) ")
_ARCHIVE_ERROR = re.compile(r"^dpkg: error processing archive (?P<file>\S+) \(--unpack\):$")
_UNREADABLE = re.compile(r"^ (?:dpkg-deb --[a-z-]+ subprocess |.* is not a Debian format archive|corrupted )")
_DPKG_DEB = re.compile(r"^dpkg-deb(?: \(subprocess\))?: ")
_LOSES_ESSENTIAL = re.compile(r"^E: (?:Essential packages were removed|Removing essential system-critical packages)")
_HELD = re.compile(r"^E: (?:Error, pkgProblemResolver::Resolve generated breaks|Unable to correct problems)")
# The kernel's error may follow the path, e.g. "(Permission denied)".
_VERIFY_LINE = re.compile(
    r"^(?P<checks>missing|[?.5MSDLUGTPC]{9})\s+(?P<conffile>c )?\s*(?P<path>/.*?)(?: \([A-Z][a-z ]+\))?$"
)
# apt's words before the download, and the first words of dpkg and of debconf's preconfiguration.
_TO_FETCH = re.compile(r"^Need to get (?!0 B)", re.MULTILINE)
_DPKG_WORKS = re.compile(
    r"^(?:Preconfiguring packages|Extracting templates|Selecting previously|\(Reading database|Preparing to unpack|"
    r"Unpacking |Setting up |Removing |Purging |Processing triggers|dpkg: )",
    re.MULTILINE,
)
# "Fetched 5,000 MB in 14min 50s (5,617 kB/s)"; apt-pkg's TimeToStr writes the time.
_FETCHED_IN = re.compile(r"^Fetched \S+ \S+ in (?P<time>[0-9dhmins ]+) \(", re.MULTILINE)
_UNITS = {"d": 86_400, "h": 3600, "min": 60, "s": 1}
_FETCHED = re.compile(r"^Get:\d+ ")
# A full disk, in a line of apt or dpkg. The lines of a script begin in other ways.
_NO_SPACE = re.compile(r"No space left on device|Disk quota exceeded")
_OWN_WORDS = re.compile(r"^(?:E: |dpkg(?:-deb|-split)?(?: \(subprocess\))?: )")
_SHA256 = re.compile(r"^(?P<sum>[0-9a-f]{64})  (?P<path>/.*)$")


def read_candidates(name: str, output: str) -> tuple[Candidate, ...]:
    """Read `apt-cache policy` for exactly this name; the version that apt prefers comes first.

    A purely virtual package has no candidate. Sections of other names, which only match, are left out.
    """
    preferred = listed = ""
    candidates: dict[str, Candidate] = {}
    version = ""
    for line in output.splitlines():
        if match := _POLICY_NAME.match(line):
            listed, version = match["name"], ""
        elif listed != name:
            continue
        elif match := _POLICY_CANDIDATE.match(line):
            preferred = match["version"]
        elif match := _POLICY_VERSION.match(line):
            version = match["version"]
            candidates.setdefault(version, Candidate(version, ""))
        elif (match := _POLICY_ORIGIN.match(line)) and version and not candidates[version].origin:
            candidates[version] = Candidate(version, match["origin"])
    return tuple(sorted(candidates.values(), key=lambda candidate: candidate.version != preferred))


def read_policies(output: str) -> dict[str, str]:
    """Read an `apt-cache policy` of several names: name → version that apt prefers, "" if it has no candidate."""
    candidates = {}
    name = ""
    for line in output.splitlines():
        if match := _POLICY_NAME.match(line):
            name = match["name"]
        elif match := _POLICY_CANDIDATE.match(line):
            candidates[name] = "" if match["version"] == "(none)" else match["version"]
    return candidates


def read_installed(name: str, output: str) -> InstalledPackage | None:
    """Read the package from an output of INSTALLED_FORMAT; None if it is not installed."""
    for line in output.splitlines():
        fields = line.split("\t")
        # dpkg-query writes "name:arch" for a Multi-Arch: same package.
        if len(fields) == 4 and fields[0].split(":")[0] == name and fields[3] == "installed":
            return InstalledPackage(name, fields[1], fields[2])
    return None


def read_packages(output: str) -> Mapping[str, str]:
    """Read an output of PACKAGES_FORMAT: name → version, and "name:architecture" if dpkg itself has another one."""
    return {name: version for name, version, status in _rows(output) if status == "installed"}


def read_unpurged(output: str) -> frozenset[str]:
    """Read the names that dpkg still knows of packages that are not installed, from an output of PACKAGES_FORMAT.

    A removed package with conffiles or a postrm script has the state "config-files". dpkg forgets any other one.
    """
    return frozenset(name for name, _, status in _rows(output) if status not in ("installed", "not-installed"))


def _rows(output: str) -> Iterator[tuple[str, str, str]]:
    """Yield name, version and state of each package in an output of PACKAGES_FORMAT."""
    rows = [fields for line in output.splitlines() if len(fields := line.split("\t")) == 4]
    native = next((row[2] for row in rows if row[0] == "dpkg" and row[3] == "installed"), "")
    for name, version, architecture, status in rows:
        known = architecture in (native, "all") or not native
        yield name if known else f"{name}:{architecture}", version, status


def read_identity(installed: InstalledPackage, outputs: Sequence[str]) -> Identity:
    """Read `apt-cache policy`, `apt-cache show NAME=VERSION`, and sha256sum of the downloaded .deb.

    Several repositories may have the same version with different content. The record with the checksum of the
    downloaded file counts, and the repository that apt names for the installed version.
    """
    policy, show, sums = outputs
    found = [match["sum"] for line in sums.splitlines() if (match := _SHA256.match(line))]
    sha256 = found[0] if len(found) == 1 else ""
    records = [record for record in read_stanzas(show) if record.get("Version") == installed.version]
    record = next((one for one in records if one.get("SHA256") == sha256), records[0] if records else {})
    return Identity(
        name=installed.name,
        version=installed.version,
        architecture=installed.architecture,
        repository=_installed_origin(policy),
        file=record.get("Filename", "").removeprefix("./"),
        sha256=sha256,
        promised_sha256=record.get("SHA256", ""),
    )


def _installed_origin(policy: str) -> str:
    """Return the first repository below the version that is marked as installed."""
    marked = False
    for line in policy.splitlines():
        if match := _POLICY_VERSION.match(line):
            marked = match["mark"] == "***"
        elif marked and (match := _POLICY_ORIGIN.match(line)):
            return match["origin"]
    return ""


def transaction_findings(spec: TaskSpec, output: str) -> Iterator[Finding]:
    """Find the reasons of a failed installation.

    apt resolves and downloads before dpkg starts. From then on the packages' scripts may print anything, even apt's
    words, so apt's words count only before.
    """
    before = _before_dpkg(output)
    yield from repository_findings(spec, before)
    for line in before.splitlines():
        if _UNKNOWN_NAME.match(line):
            yield _about(spec, Kind.PACKAGE_NOT_FOUND, "no repository has the package", line)
        elif _UNKNOWN_VERSION.match(line):
            yield _about(spec, Kind.VERSION_NOT_AVAILABLE, "no repository has that version", line)
        elif _LOSES_ESSENTIAL.match(line):
            message = "installing it would remove essential packages"
            yield _about(spec, Kind.PACKAGE_CONFLICT, message, line)
    for line in output.splitlines():
        if match := _OVERWRITE.search(line):
            message = f"its file {match['path']} is also in another package"
            yield _about(spec, Kind.FILE_CONFLICT, message, line)
        elif _DPKG_CONFLICT.match(line):
            yield _about(spec, Kind.PACKAGE_CONFLICT, "conflicts with an installed package", line)
    yield from scriptlet_findings(spec, output)
    yield from _archive_findings(output)
    for unmet in read_unmet(before):
        conflict = unmet.relation in CONFLICTS
        yield Finding(
            kind=Kind.PACKAGE_CONFLICT if conflict else Kind.DEPENDENCY_UNMET,
            message=f"{unmet.package}: {unmet.relation} {unmet.text}",
            evidence=f"{unmet.package} : {unmet.relation}: {unmet.text}",
        )


def _before_dpkg(output: str) -> str:
    """Return the output up to dpkg's first word: apt alone has written it."""
    works = _DPKG_WORKS.search(output)
    return output[: works.start()] if works else output


CONFLICTS = ("Conflicts", "Breaks")


@dataclass(frozen=True)
class Unmet:
    """A relation that apt could not satisfy, e.g. " bad : Depends: one (>= 3) but it is not installable"."""

    package: str
    relation: str
    text: str

    @property
    def alternatives(self) -> tuple[tuple[str, str], ...]:
        """Pairs of a requirement and apt's comment on it, e.g. (("one (>= 3)", "it is not installable"),)."""
        parts = (part.partition(" but ") for part in self.text.split(" or "))
        return tuple((requirement.strip(), said.strip()) for requirement, _, said in parts)


def read_unmet(output: str) -> tuple[Unmet, ...]:
    """Read the block after "The following packages have unmet dependencies:", without Recommends."""
    _, found, block = output.partition("The following packages have unmet dependencies:\n")
    unmet: list[Unmet] = []
    package = ""
    for line in block.splitlines() if found else ():
        if match := _UNMET.match(line) or _UNMET_MORE.match(line):
            package = match.groupdict().get("package") or package
            unmet.append(Unmet(package.partition(":")[0], match["relation"], match["rest"]))
        elif (match := _UNMET_OR.match(line)) and unmet:
            # Each alternative has a line of its own, and the line before it ends with "or".
            unmet[-1] = replace(unmet[-1], text=f"{unmet[-1].text} {match['rest']}")
        elif not line.startswith(("E: ", "W: ", "N: ")):
            break
    return tuple(one for one in unmet if one.relation != "Recommends")


def disk_full_line(output: str) -> str:
    """See PackageManager. The reason why dpkg could not unpack an archive is on the line after its error."""
    for before, line in itertools.pairwise(("", *output.splitlines())):
        own = _OWN_WORDS.match(line) or _ARCHIVE_ERROR.match(before)
        if own and _NO_SPACE.search(line):
            return line.strip()
    return ""


def scriptlet_findings(spec: TaskSpec, output: str) -> Iterator[Finding]:
    """Find each failed maintainer script once: dpkg runs scripts again to undo a failed step."""
    seen = set()
    since = 0
    for match in _SCRIPTLET.finditer(output):
        said, since = output[since : match.start()], match.end()
        if (match["package"], match["script"]) in seen:
            continue
        seen.add((match["package"], match["script"]))
        status = f", exit status {match['status']}" if match["status"] else ""
        how = "was killed" if match["how"].startswith("was killed") else f"failed{status}"
        message = f"{match['package'].split(':')[0]}: its {match['script']} script {how}"
        if (mounted := _MOUNTED.search(said)) and _from_distribution(spec, output, match["package"]):
            # On a machine that is no container the script would succeed.
            message += f": it replaces {mounted['path']}, which is mounted into the machine and cannot be replaced"
            yield Finding(kind=Kind.INTERNAL, message=message, evidence=_line_with(said, mounted))
        else:
            yield Finding(kind=Kind.SCRIPTLET_FAILED, message=message, evidence=_line_with(output, match))


def _from_distribution(spec: TaskSpec, output: str, package: str) -> bool:
    """Tell whether the distribution served the package: "Get:1 http://deb.debian.org/debian bookworm/main amd64 hello".

    The origin of a package that this command did not download is unknown, unless the task has no repositories.
    """
    if not spec.repositories:
        return True
    name = package.partition(":")[0]
    fetched = [line for line in _before_dpkg(output).splitlines() if _FETCHED.match(line) and name in line.split()]
    return bool(fetched) and not any(brought_by_task(spec, line) for line in fetched)


def _line_with(text: str, match: re.Match[str]) -> str:
    start = text.rfind("\n", 0, match.start()) + 1
    return text[start:].partition("\n")[0].strip()


def _archive_findings(output: str) -> Iterator[Finding]:
    """Find each .deb that has the checksum in its index but cannot be unpacked."""
    lines = output.splitlines()
    for line, following in itertools.pairwise(lines):
        match = _ARCHIVE_ERROR.match(line)
        if match and _UNREADABLE.match(following):
            package = posixpath.basename(match["file"]).partition("_")[0]
            first_word = next((line for line in lines if _DPKG_DEB.match(line)), following)
            yield Finding(
                kind=Kind.INSTALL_FAILED,
                message=f"{package}: its package file is damaged and cannot be unpacked",
                evidence=first_word.strip(),
            )


def hangs_at(output: str, *, seconds: float) -> Kind:
    """See PackageManager."""
    works = _DPKG_WORKS.search(output)
    # Before dpkg starts, no script can have written the line.
    fetched = _FETCHED_IN.search(output, 0, works.start() if works else len(output))
    if works and not (fetched and _seconds(fetched["time"]) > seconds / 2):
        return Kind.TIMEOUT
    return Kind.REPOSITORY_UNREACHABLE if _TO_FETCH.search(output) else Kind.INTERNAL


def _seconds(time: str) -> int:
    """Convert e.g. "1h 2min 3s"."""
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([a-z]+)", time))


def removes_just(names: frozenset[str], simulated: Completed) -> bool:
    """Tell whether a simulated removal (apt-get(8), --simulate) takes away all of these packages and nothing else."""
    steps = [match.groups() for match in map(_STEP.match, simulated.output.splitlines()) if match]
    gone = {name for step, name in steps if step in ("Remv", "Purg")}
    return simulated.ok and gone == names and all(step in ("Remv", "Purg") for step, _ in steps)


def removal_refused(name: str, done: Completed) -> str:
    """Return the reason why apt refused a removal; "" if it did not refuse for the system's sake.

    apt refuses before it starts dpkg, and a script of a package can print these words only later.
    """
    if done.ok:
        return ""
    output = _before_dpkg(done.output)
    lines = output.splitlines()
    if any(_LOSES_ESSENTIAL.match(line) for line in lines):
        return f"removing {name} would remove essential packages"
    # Debian 12 and later name the packages that would break.
    if any(_HELD.match(line) for line in lines):
        broken = sorted({unmet.package for unmet in read_unmet(output)})
        named = ", ".join(broken[:3]) + (f" and {len(broken) - 3} more" if len(broken) > 3 else "")
        return f"removing {name} would break {named}" if broken else f"the system needs {name}"
    return ""


def verify_findings(output: str) -> Iterator[Finding]:
    """Find the differences that `dpkg --verify` lists; a changed conffile is a warning."""
    for line in output.splitlines():
        match = _VERIFY_LINE.match(line)
        if match is None:
            continue
        if match["checks"] == "missing":
            yield Finding(kind=Kind.MISSING_FILE, message=f"{match['path']} is missing", evidence=line.strip())
        elif "5" in match["checks"]:
            # A package's own script may have changed a conffile (Debian Policy 10.7.3 forbids it, as advice).
            yield Finding(
                kind=Kind.MODIFIED_FILE,
                message=f"{match['path']} differs from the file in the package",
                severity=Severity.WARNING if match["conffile"] else Severity.ERROR,
                evidence=line.strip(),
            )


def archive_argv(name: str, version: str) -> Sequence[str]:
    """Return the command for the checksum of the downloaded file, e.g. "hello_1%3a2.10-3_amd64.deb"."""
    pattern = f"{name}_{version.replace(':', '%3a')}_*.deb"
    return ("find", ARCHIVES, "-maxdepth", "1", "-name", pattern, "-exec", "sha256sum", "{}", "+")


def last_error(output: str) -> str:
    """Return the last line that apt or dpkg calls an error; without one, the last line.

    dpkg gives its reason on the line after the error. apt's "E: Sub-process" counts only if there is no other error.
    """
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [
        f"{line} {following}" if line.endswith(":") else line
        for line, following in itertools.pairwise((*lines, ""))
        if line.startswith(("E:", "dpkg: error"))
    ]
    telling = [line for line in errors if not line.startswith("E: Sub-process")]
    return (telling or errors or lines or [""])[-1]


def _about(spec: TaskSpec, kind: Kind, message: str, line: str) -> Finding:
    return Finding(kind=kind, message=f"{spec.package_name}: {message}", evidence=line.strip())
