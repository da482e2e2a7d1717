"""Proof of the installed .rpm file: readers for the outputs of dnf, yum and find(1). Pure."""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Sequence

from alts.package_managers.base import InstalledPackage

# The tools keep downloads in these folders. They do not copy files of a repository on the machine itself.
_PACKAGE_FOLDERS = ("/var/cache/dnf", "/var/cache/libdnf5", "/var/cache/yum", "/usr/share/rpm-standin/repo")
_FIND_FILES = f'find {" ".join(_PACKAGE_FOLDERS)} -name "$1" -exec sha256sum {{}} + 2>/dev/null'

# The folder of a repository's downloads has its id and the first 16 characters of a checksum of its address as a name
# (libdnf, Repo::getCachedir). The pattern of the shell and the expression match the same paths.
_FIND_SOURCE = f"""\
files=$({_FIND_FILES})
shift
printf '%s\\n' "$files"
case $files in
    *'
'*) ;;
    *'  /var/cache/dnf/'?*-????????????????/packages/*) exit 0 ;;
    *'  /var/cache/libdnf5/'?*-????????????????/packages/*) exit 0 ;;
esac
"$@"
"""
_IN_CACHE = re.compile(r"/var/cache/(?:dnf|libdnf5)/(?P<repository>.+)-.{16}/packages/")


def find_files_argv(package: InstalledPackage) -> Sequence[str]:
    """Return the command for the checksum of each downloaded file of this package."""
    return ("/bin/sh", "-c", f"{_FIND_FILES}; true", "sh", _file_name(package))


def find_source_argv(package: InstalledPackage) -> Sequence[str]:
    """Return the command for the checksums, to which the caller adds the question for the repository's id.

    It asks only if not exactly one file was found, or if that is in no repository's folder.
    """
    return ("/bin/sh", "-c", _FIND_SOURCE, "sh", _file_name(package))


def read_file(package: InstalledPackage, output: str, repository: str) -> tuple[str, str]:
    """Read checksum and path of the package's file. Of several files, the one in the repository's own cache counts."""
    found = _files(package, output)
    own = [one for one in found if f"/{repository}-" in one[0] or f"/{repository}/" in one[0]]
    path, sha256 = next(iter(own or found), ("", ""))
    return sha256, path


def read_repository(package: InstalledPackage, output: str) -> str:
    """Read the repository's id from a line "name|id", else from the path of the file; "" if neither tells it."""
    rows = [line.split("|") for line in output.splitlines() if line.count("|") == 1]
    if asked := next((row[1].lstrip("@") for row in rows if row[0] == package.name), ""):
        return asked
    paths = [path for path, _ in _files(package, output)]
    match = _IN_CACHE.match(paths[0]) if len(paths) == 1 else None
    return match["repository"] if match else ""


def _file_name(package: InstalledPackage) -> str:
    return f"{package.name}-{package.version.rpartition(':')[2]}.{package.architecture}.rpm"


def _files(package: InstalledPackage, output: str) -> list[tuple[str, str]]:
    """Read path and checksum of each file of the package, sorted by path."""
    rows = [line.split(maxsplit=1) for line in output.splitlines() if " " in line]
    return sorted((row[1], row[0]) for row in rows if posixpath.basename(row[1]) == _file_name(package))


def read_promise(fields: str) -> tuple[str, str]:
    """Read "checksum|location", as the index has them. The checksum is "" if it is no SHA-256."""
    checksum, _, location = fields.rpartition("|")
    return _sha256(checksum), location


def _sha256(text: str) -> str:
    """Read a checksum as dnf prints it, a Python tuple: (number of the algorithm, bytes)."""
    try:
        _, digest = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError):
        return ""
    return digest.hex() if isinstance(digest, bytes) and len(digest) == 32 else ""
