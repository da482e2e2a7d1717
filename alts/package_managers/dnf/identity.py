"""Proof of the installed .rpm file: readers for the outputs of dnf, yum and find(1). Pure."""

from __future__ import annotations

import ast
import posixpath
from collections.abc import Sequence

from alts.package_managers.base import Identity, InstalledPackage

UNPROVED = Identity("", "", "", "", "", "", "")
"""The identity of a package that is not installed."""

# The tools keep downloads in these folders. They do not copy files of a repository on the machine itself.
_PACKAGE_FOLDERS = ("/var/cache/dnf", "/var/cache/libdnf5", "/var/cache/yum", "/usr/share/rpm-standin/repo")
_FIND_FILE = 'name=$1; shift; find "$@" -name "$name" -exec sha256sum {} + 2>/dev/null; true'


def find_file_argv(name: str, version: str) -> Sequence[str]:
    """Return the command for the checksum of each downloaded file of this package, of any architecture."""
    pattern = f"{name}-{version.rpartition(':')[2]}.*.rpm"
    return ("/bin/sh", "-c", _FIND_FILE, "sh", pattern, *_PACKAGE_FOLDERS)


def read_file(package: InstalledPackage, output: str, repository: str) -> tuple[str, str]:
    """Read checksum and path of the package's file. Of several files, the one in the repository's own cache counts."""
    name = f"{package.name}-{package.version.rpartition(':')[2]}.{package.architecture}.rpm"
    rows = [line.split(maxsplit=1) for line in output.splitlines() if " " in line]
    found = sorted((row[1], row[0]) for row in rows if posixpath.basename(row[1]) == name)
    own = [one for one in found if f"/{repository}-" in one[0] or f"/{repository}/" in one[0]]
    path, sha256 = next(iter(own or found), ("", ""))
    return sha256, path


def read_repository(name: str, output: str) -> str:
    """Read the repository's id from lines "name|id"; "" if there is no line of the package."""
    rows = [line.split("|") for line in output.splitlines() if line.count("|") == 1]
    return next((row[1].lstrip("@") for row in rows if row[0] == name), "")


def read_promise(output: str, repository: str, architecture: str) -> tuple[str, str]:
    """Read checksum and location in the repository's index. The checksum is "" if it is no SHA-256."""
    for line in output.splitlines():
        fields = line.split("|", 6)
        if len(fields) == 7 and fields[4:6] == [architecture, repository]:
            checksum, _, location = fields[6].rpartition("|")
            return _sha256(checksum), location
    return "", ""


def _sha256(text: str) -> str:
    """Read a checksum as dnf prints it, a Python tuple: (number of the algorithm, bytes)."""
    try:
        _, digest = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError):
        return ""
    return digest.hex() if isinstance(digest, bytes) and len(digest) == 32 else ""
