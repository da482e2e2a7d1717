"""Inspect the files that repositories served to a failed `dnf makecache`. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial

from alts.package_managers import served
from alts.package_managers.base import Query
from alts.package_managers.dnf.sources import brought_by_task
from alts.shared.models.report import Finding, Kind
from alts.shared.models.task_spec import TaskSpec

# dnf keeps no file that it could not use. Distributions have curl, or the Python that dnf runs with.
_SHOW_ALL = f"""\
{served.SHOW}
ulimit -f 40000
file=$(mktemp)
program='
import sys, urllib.request
with urllib.request.urlopen(sys.argv[1], timeout=15) as answer, open(sys.argv[2], "wb") as file:
    file.write(answer.read(1 << 20))
'
for url do
    : > "$file"
    if command -v curl > /dev/null; then
        curl --silent --fail --location --max-time 20 --output "$file" -- "$url"
    else
        for python in /usr/libexec/platform-python python3; do
            command -v "$python" > /dev/null && timeout 20 "$python" -c "$program" "$url" "$file" && break
        done
    fi 2> /dev/null
    show "$url" "$file"
done
rm -f "$file"
"""
_FAILED = re.compile(r"Failed to download metadata for repo '(?P<id>[^']+)': (?P<why>.*)$", re.MULTILINE)
_INDEX = re.compile(r"(?P<path>repodata/\S+) - Cannot download")


def query(spec: TaskSpec, findings: Sequence[Finding], failed: str) -> Query[tuple[Finding, ...]] | None:
    """Ask for the indexes behind the `findings` of a refresh whose output is `failed`.

    Return None if the output names no index of a task's repository. The answer is the same findings, but a repository
    that has a page for an index is not blamed for it.
    """
    indexes = tuple(_indexes(spec, failed))
    if not indexes:
        return None
    argv = ("/bin/sh", "-c", _SHOW_ALL, "sh", *(url for _, url in indexes))
    return Query(argv, partial(_read, findings, indexes))


def _read(findings: Sequence[Finding], indexes: Sequence[tuple[str, str]], output: str) -> tuple[Finding, ...]:
    came = {one.name: one for one in served.read(output) if one.is_page}
    pages: dict[str, Finding] = {}
    for repository, url in indexes:
        if url in came:
            pages.setdefault(repository, served.no_metadata(repository, url.rpartition("/")[2], came[url]))
    excused = [
        finding
        for finding in findings
        if finding.kind is Kind.CHECKSUM_MISMATCH and any(repository in finding.message.split() for repository in pages)
    ]
    return served.in_place_of(findings, tuple(pages.values()), excused)


def _indexes(spec: TaskSpec, output: str) -> Iterator[tuple[str, str]]:
    """Return pairs of URLs: a repository of the task, and an index of it that dnf could not use."""
    for match in _FAILED.finditer(output):
        repository = brought_by_task(spec, match["id"])
        for path in _INDEX.findall(match["why"]) if repository else ():
            yield repository, f"{repository.rstrip('/')}/{path}"
