"""Read the untranslated output of a failed dnf or yum. Pure.

A bad signature or checksum is the package's fault only in a repository of the task.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from alts.package_managers.dnf.names import bare_name
from alts.package_managers.dnf.sources import brought_by_task, repository_id
from alts.shared.models.report import Finding, Kind
from alts.shared.models.task_spec import TaskSpec

# The words of dnf, dnf5 and yum 3, in this order.
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
# dnf's words if a package must be signed and the repository has no key.
_NO_KEY = re.compile(r"^Problem repository: \[?(?P<repository>[^\]\s]+)")
# repomd.xml is a page, or empty.
_NO_REPOMD = re.compile(r"repomd\.xml parser error|Damaged repomd\.xml")
# The file is longer than alts.package_managers.served.BOUNDED allows, or the disk is full.
_TOO_LONG = re.compile(r"Curl error \(23\)")
_KEY_AWAY = re.compile(r"(?:GPG key retrieval failed|Failed to retrieve GPG key|Failed to download key).*$")
_NOT_VERIFIED = re.compile(r"package (?P<package>\S+) does not verify: (?P<why>.*)$")
_SCRIPTLET = re.compile(
    r"%(?P<script>[a-z]+)\((?P<package>[^)]+)\) scriptlet failed, (?P<how>exit status \d+|signal \d+)"
)
# rpm runs Lua scripts itself, without a shell. The number is that of a line, not an exit code.
_LUA = re.compile(
    r"(?:lua script failed|invalid syntax in lua scriptlet): "
    r"\[string \"%(?P<script>[a-z]+)\((?P<package>[^)]+)\)\"\]:(?P<how>\d+: .*)$"
)
# The words of dnf and yum, then those of dnf5, beside rpm's own.
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
# The lines of the check and the test before it go on after these words.
_RPM_WORKS = re.compile(r"^Running transaction$", re.MULTILINE)
# The lines of a script begin in other ways.
_OWN_WORDS = re.compile(r"^(?:[Ee]rror: |error\()")
_ADDRESS = re.compile(r" \(IP: [^)]*\)")

# Name of a script in rpm's messages → in a spec file.
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
    """Find the faults of repositories' metadata and keys, and a full disk."""
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
                message="the signing key of a repository could not be fetched",
                evidence=_evidence(line),
            )


def package_file_findings(spec: TaskSpec, output: str) -> Iterator[Finding]:
    """Find package files that could not be downloaded, differ from the index, or lack a trusted signature."""
    tried: dict[str, str] = {}
    for line in output.splitlines():
        if match := _TRIED.match(line):
            # The first failure has the cause. The later ones only say that dnf tried again.
            tried.setdefault(match["file"].removesuffix(".rpm"), match["why"])
        elif match := _NO_DOWNLOAD.match(line):
            # yum's successors write another epoch in the file's name than in the package's.
            why = tried.get(match["package"]) or next(iter(tried.values()), match["why"])
            yield _of_download(spec, output, match["package"], why)
        elif match := _NOT_VERIFIED.search(line):
            yield _of_file(spec, output, match["package"], match["why"], line)
        elif match := _NO_KEY.match(line):
            brought = brought_by_task(spec, match["repository"])
            yield Finding(
                kind=Kind.SIGNATURE_INVALID if brought else Kind.REPOSITORY_UNREACHABLE,
                message=f"no key is configured to verify the packages of {brought or 'the distribution'}",
                evidence=_evidence(line),
            )
        elif match := _NOT_SIGNED.search(line):
            package = match["package"] or match["keyless"] or match["failing"] or match["checked"]
            yield _of_file(spec, output, package.removesuffix(".rpm"), "", line)


def scriptlet_findings(output: str) -> Iterator[Finding]:
    """Find failed scripts, in the output of a successful command too.

    dnf's exit code hides a failed %post: rpm calls it a warning, and the package stays installed. rpm's line comes
    first and says the most. dnf's line counts if rpm has none; dnf does not know every kind of script.
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
    """Find files that two packages ship."""
    for line in output.splitlines():
        if match := _OVERWRITE.match(line):
            package = f"{bare_name(match['package'])}: its" if match["package"] else "A package's"
            yield Finding(
                kind=Kind.FILE_CONFLICT,
                message=f"{package} file {match['path']} is also in another package",
                evidence=_evidence(line),
            )


def not_found_findings(spec: TaskSpec, output: str) -> Iterator[Finding]:
    """Find the first line that says that no repository has the package."""
    for line in output.splitlines():
        if _NO_MATCH.match(line):
            yield Finding(
                kind=Kind.PACKAGE_NOT_FOUND,
                message=f"{spec.package_name}: no repository has the package",
                evidence=_evidence(line),
            )
            return


def before_rpm(output: str) -> str:
    """Return the output up to the first moment at which a package's script can run."""
    works = _RPM_WORKS.search(output)
    return output[: works.start()] if works else output


def hangs_at(output: str, *, seconds: float) -> Kind:
    """See PackageManager."""
    fetched = _FETCHED_IN.search(before_rpm(output))
    slow = fetched is not None and int(fetched["minutes"]) * 60 + int(fetched["seconds"]) > seconds / 2
    if _RPM_WORKS.search(output) and not slow:
        return Kind.TIMEOUT
    return Kind.REPOSITORY_UNREACHABLE if _TO_FETCH.search(output) else Kind.INTERNAL


def disk_full_line(output: str) -> str:
    """See PackageManager. rpm's own lines count while scripts run."""
    before = before_rpm(output).splitlines()
    own = (line for line in output.splitlines()[len(before) :] if _OWN_WORDS.match(line))
    return next((_evidence(line) for line in (*before, *own) if _DISK_FULL.search(line)), "")


def last_error(output: str) -> str:
    """Return the last line that dnf, yum or rpm calls an error; without one, the last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("Error", "error:", "Failed to"))]
    return _evidence((errors or lines or [""])[-1])


def _of_metadata(spec: TaskSpec, repository: str, why: str) -> Finding:
    brought = brought_by_task(spec, repository)
    name = brought or f"{repository} of the distribution"
    if brought and _BAD_CHECKSUM.search(why):
        kind, message = Kind.CHECKSUM_MISMATCH, f"the index of {name} does not match its checksum"
    elif brought and re.search(r"GPG|signature", why):
        kind, message = Kind.SIGNATURE_INVALID, f"the index of {name} is not signed by a trusted key"
    elif _NO_REPOMD.search(why):
        kind, message = Kind.REPOSITORY_UNREACHABLE, f"the repository does not serve package metadata: {name}"
    elif _TOO_LONG.search(why):
        kind, message = Kind.REPOSITORY_UNREACHABLE, f"the repository serves more than the machine can store: {name}"
    else:
        kind, message = Kind.REPOSITORY_UNREACHABLE, f"the repository could not be read: {name}"
    return Finding(kind=kind, message=message, evidence=_evidence(why))


def _of_download(spec: TaskSpec, output: str, package: str, why: str) -> Finding:
    name = bare_name(package)
    brought = _source_of(spec, output, name)
    if brought and _BAD_CHECKSUM.search(why):
        return Finding(
            kind=Kind.CHECKSUM_MISMATCH,
            message=f"{name} does not match the checksum in the index of {brought}",
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
            message=f"the distribution's package {name} is damaged or not signed by a trusted key",
            evidence=_evidence(line),
        )
    if _BAD_CHECKSUM.search(why):
        kind, message = (
            Kind.CHECKSUM_MISMATCH,
            f"{name} is damaged: its content does not match the digest in its header",
        )
    else:
        kind, message = Kind.SIGNATURE_INVALID, f"{name} is not signed with the gpg_key of {brought}"
    return Finding(kind=kind, message=message, evidence=_evidence(line))


def _source_of(spec: TaskSpec, output: str, name: str) -> str:
    """Return the URL of the task's repository that a package comes from; "" if it is the distribution's.

    dnf prints a table of the transaction, one line per package: name, architecture, version, repository, size. After a
    long name the rest is on the next line.
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
    """Cut the address of a host's name off: it may differ in the next run."""
    return _ADDRESS.sub("", line).strip()
