"""Repositories for dnf and yum: their files and keys, and the reader of the machine's own. Pure."""

from __future__ import annotations

import configparser
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from alts.core.instance import InstanceFile
from alts.shared.models.platform import Platform
from alts.shared.models.repository import Repository
from alts.shared.models.task_spec import TaskSpec

FOLDER = "/etc/yum.repos.d"
_ID = "alts-"
BROUGHT = f"{_ID}*"
"""Pattern of the ids of a task's repositories."""
_DEFAULT_PRIORITY = 99  # dnf.conf(5), "priority"

# The mirrors of a distribution that has reached its end of life are gone, so the repositories in its image do not work.
# These files replace them: file in the image → sections, each (id, folder below the vault). https://vault.centos.org/
_VAULT = "http://vault.centos.org"
_ARCHIVED: Mapping[tuple[str, str], tuple[str, Mapping[str, tuple[tuple[str, str], ...]]]] = {
    ("centos", "7"): (
        "file:///etc/pki/rpm-gpg/RPM-GPG-KEY-CentOS-7",
        {
            "CentOS-Base.repo": (
                ("base", "7.9.2009/os/$basearch/"),
                ("updates", "7.9.2009/updates/$basearch/"),
                ("extras", "7.9.2009/extras/$basearch/"),
            ),
        },
    ),
    ("centos", "8"): (
        "file:///etc/pki/rpm-gpg/RPM-GPG-KEY-centosofficial",
        {
            "CentOS-Stream-BaseOS.repo": (("baseos", "8-stream/BaseOS/$basearch/os/"),),
            "CentOS-Stream-AppStream.repo": (("appstream", "8-stream/AppStream/$basearch/os/"),),
            "CentOS-Stream-Extras.repo": (("extras", "8-stream/extras/$basearch/os/"),),
            "CentOS-Stream-Extras-common.repo": (("extras-common", "8-stream/extras/$basearch/extras-common/"),),
        },
    ),
}


@dataclass(frozen=True)
class KnownRepository:
    """A repository in the machine's configuration."""

    id: str
    url: str
    """URL of the repository, or of the list of its mirrors."""
    priority: int

    @property
    def origin(self) -> str:
        """Id and URL, e.g. "baseos https://mirrors.example.org/9/baseos"."""
        return f"{self.id} {self.url}".strip()


def files_for(platform: Platform, repositories: Sequence[Repository]) -> Iterator[InstanceFile]:
    """Yield a .repo file and a key per repository of the task, and the vault's for a distribution without mirrors."""
    for number, repository in enumerate(repositories, 1):
        yield InstanceFile(f"{FOLDER}/{repository_id(number)}.repo", repository_file(number, repository))
        if repository.gpg_key and not _is_url(repository.gpg_key):
            yield InstanceFile(_key_path(number), repository.gpg_key)
    key, files = _ARCHIVED.get((platform.dist_name, platform.dist_version), ("", {}))
    for name, sections in files.items():
        yield InstanceFile(
            f"{FOLDER}/{name}",
            "\n".join(
                f"[{section}]\nname={section} of the vault\nbaseurl={_VAULT}/{folder}\n"
                f"enabled=1\ngpgcheck=1\ngpgkey={key}\n"
                for section, folder in sections
            ),
        )


def repository_id(number: int) -> str:
    """Return the id of the task's nth repository, counted from 1: "alts-1"."""
    return f"{_ID}{number}"


def repository_file(number: int, repository: Repository) -> str:
    """Write a file for yum.repos.d (dnf.conf(5), "Repo Options")."""
    lines = [
        f"[{repository_id(number)}]",
        f"name={repository.name or repository_id(number)}",
        f"baseurl={repository.source[0]}",
        "enabled=1",
        # An unreachable repository of the task must fail, not be skipped.
        "skip_if_unavailable=0",
        # If two repositories have the same package, dnf takes it from the cheaper one. Others cost 1000.
        f"cost={99 + number}",
        f"gpgcheck={0 if repository.trusted else 1}",
        "repo_gpgcheck=0",
    ]
    if repository.gpg_key:
        lines.append(f"gpgkey={repository.gpg_key if _is_url(repository.gpg_key) else f'file://{_key_path(number)}'}")
    if repository.priority is not None:
        lines.append(f"priority={repository.priority}")
    return "\n".join(lines) + "\n"


def read_repositories(text: str) -> Mapping[str, KnownRepository]:
    """Read the concatenated .repo files: id → repository. An unreadable text has no repository."""
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True, delimiters=("=",))
    try:
        parser.read_string(text)
    except configparser.Error:
        return {}
    return {
        section: KnownRepository(
            id=section,
            url=next((parser.get(section, key, fallback="").split() or [""])[0] for key in _url_keys(parser, section)),
            priority=_number(parser.get(section, "priority", fallback="")),
        )
        for section in parser.sections()
    }


def brought_by_task(spec: TaskSpec, repository: str) -> str:
    """Return the URL of the task's repository with this id; "" if it is not an id of the task."""
    number = repository.removeprefix(_ID)
    if not repository.startswith(_ID) or not number.isdecimal() or not 1 <= int(number) <= len(spec.repositories):
        return ""
    return spec.repositories[int(number) - 1].source[0]


def _url_keys(parser: configparser.RawConfigParser, section: str) -> Iterator[str]:
    yield from (key for key in ("baseurl", "metalink", "mirrorlist") if parser.get(section, key, fallback=""))
    yield "baseurl"


def _number(text: str) -> int:
    return int(text) if text.strip().isdecimal() else _DEFAULT_PRIORITY


def _is_url(key: str) -> bool:
    return key.startswith(("http://", "https://"))


def _key_path(number: int) -> str:
    return f"/etc/pki/rpm-gpg/{repository_id(number)}.asc"
