"""Turn apt's messages about failed repositories and downloads into findings. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from alts.shared.models.report import Finding, Kind
from alts.shared.models.task_spec import TaskSpec

# A fault of these hosts is the distribution's, even if the task names them: a task may bring backports from there.
_OFFICIAL = re.compile(r"https?://(?:[a-z0-9.-]+\.)?(?:debian\.org|ubuntu\.com)(?:[:/ ]|$)")

FETCH_FAILED = re.compile(r"^[EW]: Failed to fetch (?P<url>\S+)\s+(?P<why>.*)$")
"""apt's line about a file that it could not download, e.g. an index."""
_BAD_CHECKSUM = re.compile(r"Hash Sum mismatch|File has unexpected size|Hashes of expected file", re.IGNORECASE)
_NO_RELEASE_FILE = re.compile(
    r"^E: The repository '(?P<source>.*)' (?:does not|no longer|doesn't) ha(?:ve|s) a Release"
)
# Debian 13 checks signatures with sqv, which has its own messages.
_BAD_SIGNATURE = re.compile(
    r"^[EW]: (?:An error occurred during the signature verification|GPG error: |"
    r"OpenPGP signature verification failed: |The repository '.*' is (?:not|no longer) signed)"
)
# apt prints this too if it could not fetch the Release file, and so saw no signature.
_NOT_SIGNED = re.compile(r"^[EW]: The repository '(?P<url>\S+) .*' is (?:not|no longer) signed")
_ABOUT_SIGNATURES = re.compile(r"signature|public key|NO_PUBKEY|sqv", re.IGNORECASE)
_DISK_FULL = re.compile(r"No space left on device|You don't have enough free space")
# The address of a name may differ from run to run.
_ADDRESS = re.compile(r" \[IP: [^\]]*\]")


def repository_findings(spec: TaskSpec, output: str) -> Iterator[Finding]:
    """Find faults of repositories in apt's output, each once.

    A bad signature or checksum is the package's fault only in a repository of the task.
    """
    lines = [_ADDRESS.sub("", line).strip() for line in output.splitlines()]
    unread = [
        match["url"]
        for match in filter(None, map(FETCH_FAILED.match, lines))
        if not _ABOUT_SIGNATURES.search(match["why"])
    ]
    seen: set[tuple[Kind, str]] = set()
    for line in lines:
        if (unsigned := _NOT_SIGNED.match(line)) and any(_is_in(url, unsigned["url"]) for url in unread):
            continue
        finding = _finding(spec, line)
        if finding is not None and (finding.kind, finding.message) not in seen:
            seen.add((finding.kind, finding.message))
            yield finding


def brought_by_task(spec: TaskSpec, text: str) -> str:
    """Return the URL of the task's repository that the text names; "" if it names none of them."""
    if _OFFICIAL.search(text):
        return ""
    for repository in spec.repositories:
        url = repository.source[0].rstrip("/")
        if re.search(rf"{re.escape(url)}(?:[/ ']|$)", text):
            return url
    return ""


def _is_trusted(spec: TaskSpec, url: str) -> bool:
    return any(one.trusted and one.source[0].rstrip("/") == url for one in spec.repositories)


def _is_in(url: str, repository: str) -> bool:
    return url.startswith(f"{repository.rstrip('/')}/")


def _finding(spec: TaskSpec, line: str) -> Finding | None:
    if _DISK_FULL.search(line):
        return Finding(kind=Kind.DISK_FULL, message="the machine's disk is full", evidence=line)
    if match := _NO_RELEASE_FILE.match(line):
        return Finding(
            kind=Kind.REPOSITORY_UNREACHABLE,
            message=f"the repository has no Release file: {match['source']}. Check its URL and suite",
            evidence=line,
        )
    match = FETCH_FAILED.match(line)
    if _BAD_SIGNATURE.match(line) or (match and _ABOUT_SIGNATURES.search(match["why"])):
        brought = brought_by_task(spec, line)
        if line.startswith("W:") and _is_trusted(spec, brought):
            # apt only warns about the signature of a trusted repository.
            return None
        return Finding(
            kind=Kind.SIGNATURE_INVALID if brought else Kind.REPOSITORY_UNREACHABLE,
            message=f"the repository {brought or 'of the distribution'} is not signed by a trusted key",
            evidence=line,
        )
    if match:
        return _fetch_failed(spec, match["url"], line)
    return None


def _fetch_failed(spec: TaskSpec, url: str, line: str) -> Finding:
    brought = brought_by_task(spec, url)
    if _BAD_CHECKSUM.search(line) and brought:
        return Finding(
            kind=Kind.CHECKSUM_MISMATCH,
            message=f"{url} does not match the checksum in the index of {brought}",
            evidence=line,
        )
    return Finding(
        kind=Kind.REPOSITORY_UNREACHABLE,
        message=f"the repository could not be read: {url}",
        evidence=line,
    )
