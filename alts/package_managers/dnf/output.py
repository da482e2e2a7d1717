"""What dnf and yum print when something goes wrong, as findings. Pure.

Who brought a repository decides whose fault a bad signature or checksum in it is: the task's own is under test, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from alts.package_managers.dnf.names import bare_name
from alts.package_managers.dnf.sources import brought_by_task, repository_id
from alts.shared.models.report import Finding, Kind
from alts.shared.models.task_spec import TaskSpec

# dnf, dnf5 and yum 3, in this order, where they differ.
_NO_METADATA = re.compile(
    r"(?:Failed to download metadata for repo '(?P<dnf>[^']+)'|"
    r"Failed to download metadata .*for repository \"(?P<dnf5>[^\"]+)\"|"
    r"^failure: \S+ from (?P<yum>[^\s:]+):)(?:: )?(?P<why>.*)$"
)
_WHY_LINE = re.compile(r"^ *- (?P<why>(?:Status code|Curl error|Downloading successful, but|Yum repo|Librepo).*)$")
_TRIED = re.compile(r"^\[(?:MIRROR|FAILED)\] (?P<file>\S+): (?P<why>.*)$")
_BAD_CHECKSUM = re.compile(r"checksum doesn't match|Payload \S+ (?:ALT )?digest: BAD|[Cc]hecksum mismatch|digest: BAD")
_NO_DOWNLOAD = re.compile(
    r"^ +(?P<package>\S+): (?P<why>Cannot download.*|Interrupted.*|.*[Nn]o more mirrors.*|.*All mirrors were.*)$"
)
_NOT_SIGNED = re.compile(
    r"^Package (?P<package>\S+) is not signed$|"
    r"^Public key for (?P<keyless>\S+) is not installed|"
    r"Failing package is: (?P<failing>\S+)$|"
    r"^OpenPGP check for package \"(?P<checked>[^\"]+)\".* has failed: "
)
# dnf's words where a package must be signed and nobody has given a key.
_NO_KEY = re.compile(r"^Problem repository: \[?(?P<repository>[^\]\s]+)")
# A page, or nothing at all, in place of repomd.xml.
_NO_REPOMD = re.compile(r"repomd\.xml parser error|Damaged repomd\.xml")
# What it writes is longer than alts.package_managers.served.BOUNDED allows, or the disk is full.
_TOO_LONG = re.compile(r"Curl error \(23\)")
_KEY_AWAY = re.compile(r"(?:GPG key retrieval failed|Failed to retrieve GPG key|Failed to download key).*$")
_NOT_VERIFIED = re.compile(r"package (?P<package>\S+) does not verify: (?P<why>.*)$")
_SCRIPTLET = re.compile(
    r"%(?P<script>[a-z]+)\((?P<package>[^)]+)\) scriptlet failed, (?P<how>exit status \d+|signal \d+)"
)
# What rpm runs by itself, without a shell; its number of the line is no exit code.
_LUA = re.compile(
    r"(?:lua script failed|invalid syntax in lua scriptlet): "
    r"\[string \"%(?P<script>[a-z]+)\((?P<package>[^)]+)\)\"\]:(?P<how>\d+: .*)$"
)
# The words of dnf and yum, and of dnf5, whatever rpm says.
_ANY_SCRIPTLET = re.compile(
    r"^(?:Error in|Non-fatal) (?P<tag>[A-Z<>]+) scriptlet (?:failure )?in rpm package (?P<package>\S+)$|"
    r"^>>> (?:Non-critical error|Error) in (?P<step>[a-z-]+) scriptlet: (?P<full>\S+)$"
)
_OVERWRITE = re.compile(
    r"^ *file (?P<path>/.*?) (?:from install of (?P<package>\S+) )?conflicts (?:with|between) (?P<rest>.*)$"
)
_DISK_FULL = re.compile(
    r"No space left on device|more space on the \S+ filesystem|more space needed on the \S+ filesystem|"
    r"not enough free disk space|Disk quota exceeded|database or disk is full",
    re.IGNORECASE,
)
_NO_MATCH = re.compile(r"^(?:Error: )?(?:No match for argument: |Unable to find a match: |No package \S+ available)")
_TO_FETCH = re.compile(r"^(?:Downloading Packages:|Total download size: |Total size of inbound packages)", re.MULTILINE)
# "Total                1.1 MB/s | 5.0 GB     74:50"
_FETCHED_IN = re.compile(r"^Total +.*\| .* (?P<minutes>\d+):(?P<seconds>\d\d) *$", re.MULTILINE)
# The check and the test before it have words of their own behind these.
_RPM_WORKS = re.compile(r"^Running transaction$", re.MULTILINE)
# Scripts' own words begin otherwise.
_OWN_WORDS = re.compile(r"^(?:[Ee]rror: |error\()")
_ADDRESS = re.compile(r" \(IP: [^)]*\)")

# rpm's own names of scripts in messages → as a spec has them.
_SCRIPTS = {
    "prein": "pre",
    "postin": "post",
    "pre-install": "pre",
    "post-install": "post",
    "pre-uninstall": "preun",
    "post-uninstall": "postun",
    "pre-transaction": "pretrans",
    "post-transaction": "posttrans",
    "verify": "verifyscript",
}


def repository_findings(spec: TaskSpec, output: str) -> Iterator[Finding]:
    """Trouble with what repositories gave, or did not give."""
    why = ""
    for line in output.splitlines():
        if _DISK_FULL.search(line):
            yield Finding(kind=Kind.DISK_FULL, message="the machine's disk is full", evidence=_evidence(line))
        elif match := _WHY_LINE.match(line):
            why = why or match["why"]
        elif match := _NO_METADATA.search(line):
            repository = match["dnf"] or match["dnf5"] or match["yum"]
            yield _of_metadata(spec, repository, why or match["why"] or line)
            why = ""
        elif match := _KEY_AWAY.search(line):
            yield Finding(
                kind=Kind.REPOSITORY_UNREACHABLE,
                message="the key of a repository could not be fetched",
                evidence=_evidence(line),
            )


def package_file_findings(spec: TaskSpec, output: str) -> Iterator[Finding]:
    """Trouble with the files of packages: not to be had, not what was promised, not signed as they should be."""
    tried: dict[str, str] = {}
    for line in output.splitlines():
        if match := _TRIED.match(line):
            # The first failure is the one to tell; later ones only say that it was tried again.
            tried.setdefault(match["file"].removesuffix(".rpm"), match["why"])
        elif match := _NO_DOWNLOAD.match(line):
            # yum's successors write the file's name with another epoch than the package's.
            why = tried.get(match["package"]) or next(iter(tried.values()), match["why"])
            yield _of_download(spec, output, match["package"], why)
        elif match := _NOT_VERIFIED.search(line):
            yield _of_file(spec, output, match["package"], match["why"], line)
        elif match := _NO_KEY.match(line):
            brought = brought_by_task(spec, match["repository"])
            yield Finding(
                kind=Kind.SIGNATURE_INVALID if brought else Kind.REPOSITORY_UNREACHABLE,
                message=f"there is no key to check the packages of {brought or 'the distribution'} with",
                evidence=_evidence(line),
            )
        elif match := _NOT_SIGNED.search(line):
            package = match["package"] or match["keyless"] or match["failing"] or match["checked"]
            yield _of_file(spec, output, package.removesuffix(".rpm"), "", line)


def scriptlet_findings(output: str) -> Iterator[Finding]:
    """dnf's exit code hides a failed %post: rpm calls that a warning, and the package stays installed.

    rpm says it first, and best; what only dnf says is told of as well. It does not know every sort of script.
    """
    told: set[str] = set()
    for line in output.splitlines():
        if match := _SCRIPTLET.search(line):
            package, script, how = bare_name(match["package"]), match["script"], f", {match['how']}"
        elif match := _LUA.search(line):
            package, script, how = bare_name(match["package"]), match["script"], f" in line {match['how']}"
        elif match := _ANY_SCRIPTLET.match(line):
            package = match["package"] or bare_name(match["full"])
            script, how = match["step"] or match["tag"].lower(), ""
        else:
            continue
        script = _SCRIPTS.get(script, script)
        if how or package not in told:
            told.add(package)
            message = f"{package}: its %{script} script failed{how}"
            yield Finding(kind=Kind.SCRIPTLET_FAILED, message=message, evidence=_evidence(line))


def conflict_findings(output: str) -> Iterator[Finding]:
    for line in output.splitlines():
        if match := _OVERWRITE.match(line):
            package = f"{bare_name(match['package'])}: a" if match["package"] else "A"
            yield Finding(
                kind=Kind.FILE_CONFLICT,
                message=f"{package} file of it is another package's: {match['path']}",
                evidence=_evidence(line),
            )


def not_found_findings(spec: TaskSpec, output: str) -> Iterator[Finding]:
    for line in output.splitlines():
        if _NO_MATCH.match(line):
            yield Finding(
                kind=Kind.PACKAGE_NOT_FOUND,
                message=f"{spec.package_name}: no repository has the package",
                evidence=_evidence(line),
            )
            return


def before_rpm(output: str) -> str:
    """What dnf or yum has said before any script of a package could run."""
    works = _RPM_WORKS.search(output)
    return output[: works.start()] if works else output


def hangs_at(output: str, *, seconds: float) -> Kind:
    """See alts.package_managers.base.PackageManager."""
    fetched = _FETCHED_IN.search(before_rpm(output))
    slow = fetched is not None and int(fetched["minutes"]) * 60 + int(fetched["seconds"]) > seconds / 2
    if _RPM_WORKS.search(output) and not slow:
        return Kind.TIMEOUT
    return Kind.REPOSITORY_UNREACHABLE if _TO_FETCH.search(output) else Kind.INTERNAL


def disk_full_line(output: str) -> str:
    """See alts.package_managers.base.PackageManager."""
    before = before_rpm(output).splitlines()
    own = (line for line in output.splitlines()[len(before) :] if _OWN_WORDS.match(line))
    return next((_evidence(line) for line in (*before, *own) if _DISK_FULL.search(line)), "")


def last_error(output: str) -> str:
    """The last line that is called an error, else the last line at all."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("Error", "error:", "Failed to"))]
    return _evidence((errors or lines or [""])[-1])


def _of_metadata(spec: TaskSpec, repository: str, why: str) -> Finding:
    brought = brought_by_task(spec, repository)
    name = brought or f"{repository} of the distribution"
    if brought and _BAD_CHECKSUM.search(why):
        kind, message = Kind.CHECKSUM_MISMATCH, f"the index of {name} is not what it promises"
    elif brought and re.search(r"GPG|signature", why):
        kind, message = Kind.SIGNATURE_INVALID, f"the index of {name} is not signed by a key that is trusted"
    elif _NO_REPOMD.search(why):
        kind, message = Kind.REPOSITORY_UNREACHABLE, f"the repository does not serve package metadata: {name}"
    elif _TOO_LONG.search(why):
        kind, message = Kind.REPOSITORY_UNREACHABLE, f"the machine cannot hold what the repository serves: {name}"
    else:
        kind, message = Kind.REPOSITORY_UNREACHABLE, f"the repository could not be read: {name}"
    return Finding(kind=kind, message=message, evidence=_evidence(why))


def _of_download(spec: TaskSpec, output: str, package: str, why: str) -> Finding:
    name = bare_name(package)
    brought = _source_of(spec, output, name)
    if brought and _BAD_CHECKSUM.search(why):
        return Finding(
            kind=Kind.CHECKSUM_MISMATCH,
            message=f"{name} is not what the index of {brought} promises",
            evidence=_evidence(why),
        )
    return Finding(
        kind=Kind.REPOSITORY_UNREACHABLE,
        message=f"the file of {name} could not be fetched from {brought or 'the distribution'}",
        evidence=_evidence(why),
    )


def _of_file(spec: TaskSpec, output: str, package: str, why: str, line: str) -> Finding:
    name = bare_name(package)
    brought = _source_of(spec, output, name)
    if not brought:
        return Finding(
            kind=Kind.REPOSITORY_UNREACHABLE,
            message=f"the distribution's own {name} is not signed by a key that is trusted, or damaged",
            evidence=_evidence(line),
        )
    if _BAD_CHECKSUM.search(why):
        kind, message = Kind.CHECKSUM_MISMATCH, f"{name} is damaged: its content is not what its header promises"
    else:
        kind, message = Kind.SIGNATURE_INVALID, f"{name} is not signed by a key of {brought}"
    return Finding(kind=kind, message=message, evidence=_evidence(line))


def _source_of(spec: TaskSpec, output: str, name: str) -> str:
    """The URL of the task's repository that a package comes from; empty where it is the distribution's.

    From the table of what is to be done, a line a package: name, architecture, version, repository, size. A long name
    has a line of its own, and the rest is on the next one.
    """
    lines = output.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        words = line.split()
        if not words or words[0] != name or not line.startswith(" "):
            continue
        for number, repository in enumerate(spec.repositories, 1):
            if repository_id(number) in (*words[1:], *(following.split() if len(words) == 1 else ())):
                return repository.source[0]
    return ""


def _evidence(line: str) -> str:
    """Without the address that a name had just then: the next run may get another one."""
    return _ADDRESS.sub("", line).strip()
