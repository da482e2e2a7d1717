"""Inspect the files that repositories served to a failed `apt-get update`. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from alts.package_managers import served
from alts.package_managers.apt.downloads import FETCH_FAILED, brought_by_task
from alts.package_managers.base import Query
from alts.package_managers.served import Served
from alts.shared.models.report import Finding, Kind
from alts.shared.models.repository import Repository
from alts.shared.models.task_spec import TaskSpec

# apt leaves a Release file that it could not use in lists/partial. It does not even fetch an index of a wrong size, so
# that one is fetched once more, by apt's own program, so that apt's settings hold.
_SHOW_ALL = f"""\
{served.SHOW}
for file in /var/lib/apt/lists/partial/*Release /var/lib/apt/lists/partial/*Release.FAILED; do
    show "${{file##*/}}" "$file"
done
ulimit -f 40000
file=$(mktemp)
for url do
    rm -f "$file"
    timeout 20 /usr/lib/apt/apt-helper download-file "$url" "$file" > /dev/null 2>&1
    show "$url" "$file"
done
rm -f "$file"
"""
_INDEX = re.compile(r"/Packages[^/]*$")
_QUOTED = re.compile(r"[\\\\|{}\[\]<>\"^~_=!@#$%&*]")  # apt-pkg/contrib/strutl.cc, URItoFileName


def query(spec: TaskSpec, findings: Sequence[Finding], failed: str) -> Query[tuple[Finding, ...]]:
    """Ask for the files behind the `findings` of an update whose output is `failed`.

    The answer is the same findings, but a repository whose Release file or index is a page is not blamed for it.
    """
    argv = ("/bin/sh", "-c", _SHOW_ALL, "sh", *_indexes(spec, failed))
    return Query(argv, partial(_read, spec, findings))


def _read(spec: TaskSpec, findings: Sequence[Finding], output: str) -> tuple[Finding, ...]:
    came = {one.name: one for one in served.read(output)}
    pages = tuple(_release_findings(spec, came))
    broken = {repository.source[0].rstrip("/") for repository, _ in pages}
    of_indexes = [(url, one) for url, one in came.items() if "://" in url and one.is_page]
    excused = [
        finding
        for finding in findings
        if brought_by_task(spec, finding.evidence) in broken
        or any(finding.kind is Kind.CHECKSUM_MISMATCH and url in finding.evidence for url, _ in of_indexes)
    ]
    said = [finding for _, finding in pages]
    said += [served.no_metadata(brought_by_task(spec, url), url.rpartition("/")[2], one) for url, one in of_indexes]
    return served.in_place_of(findings, said, excused)


def _release_findings(spec: TaskSpec, came: Mapping[str, Served]) -> Iterator[tuple[Repository, Finding]]:
    """Find each repository that served a file as InRelease or Release, and no real Release file."""
    for repository in spec.repositories:
        found = {name: one for name in _RELEASES if (one := _of(repository, name, came)) is not None}
        if found and not any(one.is_release for one in found.values()):
            name, one = next(iter(found.items()))
            yield repository, served.no_metadata(repository.source[0].rstrip("/"), name, one)


_RELEASES = ("InRelease", "Release")


def _of(repository: Repository, name: str, came: Mapping[str, Served]) -> Served | None:
    """Look the file up by the name that apt gives it on disk."""
    url, suite, _ = repository.source
    folder = suite if suite.endswith("/") else f"dists/{suite}/"
    address = f"{url.rstrip('/')}/{folder}{name}".partition("://")[2]
    kept = _QUOTED.sub(lambda match: f"%{ord(match[0]):02x}", address).replace("/", "_")
    return came.get(f"{kept}.FAILED") or came.get(kept)


def _indexes(spec: TaskSpec, output: str) -> list[str]:
    """Return the URLs of the task's own indexes that apt could not use."""
    failed = [match["url"] for line in output.splitlines() if line[:2] == "E:" and (match := FETCH_FAILED.match(line))]
    return [url for url in dict.fromkeys(failed) if _INDEX.search(url) and brought_by_task(spec, url)]
