"""Files that bring a task's repositories to apt: settings, sources, keys, pins. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from alts.core.instance import InstanceFile
from alts.package_managers import served
from alts.shared.models.repository import Repository

ARCHIVES = "/var/cache/apt/alts"
"""Folder of downloaded packages. They stay as proof of what was installed."""

# Error-Mode: by default `apt-get update` exits 0 although a repository could not be fetched (apt-get(8), since 2.1).
# A server has 3 x 15 s for its first byte, so that a hanging one cannot use up a stage's time. Official images delete
# downloads from apt's own folder (docker-clean), so they go into another one; apt makes it below its own.
# sourcelist: see LIST_LAST. There is no such file; /dev/null is as old as the machine, and apt does not believe a cache
# that is older than its sourcelist (apt-pkg/pkgcachegen.cc, CheckValidity).
_SETTINGS = f"""\
Acquire::Retries "2";
Acquire::http::Timeout "15";
Acquire::https::Timeout "15";
Acquire::Languages "none";
APT::Update::Error-Mode "any";
APT::Keep-Downloaded-Packages "true";
Dir::Cache::Archives "{ARCHIVES}/";
Dir::Etc::sourcelist "/etc/apt/no-sources.list";
"""

_PREFIX = "alts-"  # of the names of the task's sources and keys

# If several repositories have the same version, apt takes it from the source that it read first, and it reads
# sources.list before the other files (apt-pkg/sourcelist.cc, ReadMainList). The test is of the task's package, so the
# distribution's sources come last.
LIST_LAST = f"""\
[ ! -e /etc/apt/sources.list ] || ln -sf ../sources.list /etc/apt/sources.list.d/zz-distribution.list
{served.BOUNDED}
"""

FETCH_BROUGHT = f"""\
folder=$(mktemp -d) && ln -s /etc/apt/sources.list.d/{_PREFIX}*.sources "$folder" || exit
set -- "$@" --option=Dir::Etc::sourceparts="$folder" --option=APT::Get::List-Cleanup=false update
({served.BOUNDED})
code=$?
rm -r "$folder"
exit $code
"""
"""Shell script: run "$@", an apt-get, to update the task's sources alone. The lists of others stay."""


def files_for(repositories: Sequence[Repository]) -> Iterator[InstanceFile]:
    """Yield settings, and a source, a key and pins for the task's repositories. Keys must be text already, not URLs."""
    yield InstanceFile("/etc/apt/apt.conf.d/90alts", _SETTINGS)
    for number, repository in enumerate(repositories, 1):
        key_path = None
        if repository.gpg_key:
            key_path = f"/etc/apt/keyrings/{_PREFIX}{number}.asc"
            yield InstanceFile(key_path, repository.gpg_key)
        stanza = deb822_source(repository, key_path=key_path)
        yield InstanceFile(f"/etc/apt/sources.list.d/{_PREFIX}{number}.sources", stanza)
    if pins := preferences(repositories):
        yield InstanceFile("/etc/apt/preferences.d/alts", pins)


def deb822_source(repository: Repository, *, key_path: str | None = None) -> str:
    """Write a stanza for sources.list.d (sources.list(5), DEB822-STYLE FORMAT)."""
    url, suite, components = repository.source
    fields = {
        "Types": "deb",
        "URIs": url,
        "Suites": suite,
        "Components": " ".join(components),
        "Architectures": " ".join(repository.architectures),
        "Trusted": "yes" if repository.trusted else "",
        "Signed-By": key_path or "",
    }
    return "".join(f"{key}: {value}\n" for key, value in fields.items() if value)


def preferences(repositories: Sequence[Repository]) -> str:
    """Write pins by host: apt has no other pin for a repository without a Release file (apt_preferences(5))."""
    pins = {repository.host: repository.priority for repository in repositories if repository.priority is not None}
    return "\n".join(
        f'Package: *\nPin: origin "{host}"\nPin-Priority: {priority}\n' for host, priority in sorted(pins.items())
    )
