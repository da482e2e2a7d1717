"""Describe an installed Debian tree as one RPM spec, with a subpackage for every Debian package.

Files without a use on a RHEL-like system (apt, dpkg, documentation, Perl) are removed from the tree first, and the
overlay is added. Every remaining file belongs to the RPM of its Debian package. Files made by maintainer scripts belong
to `filesystem`, which also owns all folders. rpmbuild finds the libraries that each RPM requires and provides.
Relations between packages come from Debian's own.

usage: make_spec.py TREE --overlay FOLDER --output FILE.spec
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

RELEASE_PACKAGE = "rpm-standin-release"
VERSION = "9"
DIST = ".std9"

# Debian's name → the name on RHEL-like systems; other packages keep theirs.
NAMES: Mapping[str, str] = {
    "base-files": RELEASE_PACKAGE,
    "base-passwd": "setup",
    "createrepo-c": "createrepo_c",
    "libc-bin": "glibc-common",
    "libc6": "glibc",
    "libgcc-s1": "libgcc",
    "libssl3": "openssl-libs",
    "libstdc++6": "libstdc++",
    "login": "util-linux-login",
    "passwd": "shadow-utils",
    "procps": "procps-ng",
    "python3-minimal": "python3-libs",
    "zlib1g": "zlib",
}

# Debian's own machinery, and Perl, which only its helpers and some of rpmbuild's use.
DROPPED = re.compile(
    r"(?:adduser|apt|debconf|debian-archive-keyring|dpkg|init-system-helpers|libapt-pkg.*|"
    r"libperl.*|.*-perl|perl.*|sysvinit-utils|usr-is-merged|usrmerge)\Z"
)
DROPPED_FOLDERS = (
    "/boot", "/etc/apt", "/etc/dpkg", "/etc/init.d", "/etc/rc0.d", "/etc/rc1.d",
    "/etc/rc2.d", "/etc/rc3.d", "/etc/rc4.d", "/etc/rc5.d", "/etc/rc6.d", "/etc/rcS.d",
    "/root/.rpmdb", "/usr/lib/apt", "/usr/lib/dpkg", "/usr/share/bug",
    "/usr/share/debconf", "/usr/share/doc-base", "/usr/share/lintian", "/usr/share/perl",
    "/usr/share/perl5", "/var/backups", "/var/lib/apt",
    "/var/lib/dnf", "/var/lib/dpkg", "/var/lib/python", "/var/lib/rpm", "/var/lib/systemd",
)  # fmt: skip
DROPPED_FILES = (
    "/etc/debian_version", "/etc/hostname", "/etc/hosts", "/etc/issue", "/etc/issue.net", "/etc/ld.so.cache",
    "/etc/machine-id", "/etc/resolv.conf", "/usr/sbin/policy-rc.d",
)  # fmt: skip
EMPTIED_FOLDERS = (
    "/dev", "/etc/cron.d", "/etc/cron.daily", "/run", "/usr/share/bash-completion", "/usr/share/doc", "/usr/share/info",
    "/usr/share/locale", "/usr/share/man", "/var/cache", "/var/log",
    "/tmp", "/var/tmp",  # noqa: S108 - of the tree
)  # fmt: skip
# RHEL's own filesystem package owns these folders in every installation, so no package leaves them behind.
MADE_FOLDERS = (
    "/etc/pki/rpm-gpg", "/usr/lib/debug/usr/bin", "/usr/lib/debug/usr/lib64", "/usr/share/licenses",
    "/usr/share/man/man1", "/usr/share/man/man5", "/usr/share/man/man8",
)  # fmt: skip

# Accounts change with every machine. As in RHEL's own setup, only their owner is verified.
ACCOUNTS = ("/etc/group", "/etc/gshadow", "/etc/passwd", "/etc/shadow", "/etc/subgid", "/etc/subuid")

# The library that others are linked with, and the files that rpm's own generator does not announce by a name.
PROVIDES: Mapping[str, tuple[str, ...]] = {
    "bash": ("/bin/sh", "/usr/bin/sh"),
    "glibc": ("rtld(GNU_HASH)",),
    RELEASE_PACKAGE: (f"system-release = {VERSION}", f"system-release(releasever) = {VERSION}"),
    "rpm": ("rpm-build = %{version}-%{release}", "rpm-sign = %{version}-%{release}"),
}
FOLDER_OWNER = "filesystem"

# Links of RHEL-like systems that Debian makes through alternatives or not at all.
LINKS: Mapping[str, str] = {
    "/etc/os-release": "../usr/lib/os-release",
    "/etc/redhat-release": "system-release",
    "/usr/bin/awk": "mawk",
    "/usr/bin/sh": "bash",
    "/usr/bin/yum": "dnf-3",
}

PREAMBLE = """\
# Made by make_spec.py.
%global _build_id_links none
%global debug_package %{nil}
%global __os_install_post %{nil}
%global _binary_payload w1.gzdio
%global _unpackaged_files_terminate_build 0
%global __requires_exclude ^(perl|/usr/bin/perl|/usr/bin/make|/usr/local/|pkgconfig).*$
%global __provides_exclude ^(perl|pkgconfig).*$

Name: rpm-standin
Version: 9
Release: 1.std9
Summary: Debian packages, turned into RPMs
License: as the Debian packages say
%description
The Debian packages that the stand-in is made of.

%install
rm -rf %{buildroot}
mv %{standin_tree} %{buildroot}

"""


@dataclass
class Package:
    """A Debian package that is installed in the tree, and its remaining files."""

    debian_name: str
    debian_version: str
    summary: str
    depends: tuple[str, ...]
    """Debian names: the first of alternatives, without versions."""
    files: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return NAMES.get(self.debian_name, self.debian_name)

    @property
    def version(self) -> tuple[str, str]:
        """Version and release. An RPM's contain no "-", and the epoch is left out."""
        if self.name == RELEASE_PACKAGE:
            return VERSION, f"1{DIST}"
        version = self.debian_version.rpartition(":")[2]
        upstream, dash, revision = version.rpartition("-")
        return _word(upstream if dash else version), _word(revision if dash else "1") + DIST


def _word(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.+~_^]", "_", text)


def installed_packages(tree: Path) -> Iterator[Package]:
    """Read the packages of dpkg's database, except those without a place in an RPM-native system."""
    status = (tree / "var/lib/dpkg/status").read_text(encoding="utf-8")
    for stanza in status.split("\n\n"):
        fields: dict[str, str] = dict(re.findall(r"^([A-Za-z-]+): *(.*)$", stanza, re.MULTILINE))
        if not fields.get("Status", "").endswith(" installed") or DROPPED.match(fields["Package"]):
            continue
        relations = ",".join(fields.get(name, "") for name in ("Pre-Depends", "Depends"))
        depends = (relation.strip().partition(" ")[0].partition(":")[0] for relation in relations.split(","))
        yield Package(
            debian_name=fields["Package"],
            debian_version=fields["Version"],
            summary=fields.get("Description", fields["Package"])[:100],
            depends=tuple(name for name in depends if name),
        )


def shipped_paths(tree: Path, name: str) -> Iterator[str]:
    """Return a package's files from dpkg, with the links in the folders above resolved: /bin is /usr/bin."""
    info = tree / "var/lib/dpkg/info"
    lists = [*info.glob(f"{name}.list"), *info.glob(f"{name}:*.list")]
    for line in "".join(path.read_text(encoding="utf-8") for path in lists).splitlines():
        if line not in ("", "/."):
            yield resolved(tree, line)


def resolved(tree: Path, path: str) -> str:
    """Return a path below the tree without links in its folders. Links are relative, or start at the tree's top."""
    *folders, name = path.strip("/").split("/")
    place = PurePosixPath("/")
    for folder in folders:
        step = place / folder
        link = in_tree(tree, str(step))
        place = PurePosixPath(os.path.normpath(place / link.readlink())) if link.is_symlink() else step
    return str(place / name)


def in_tree(tree: Path, path: str) -> Path:
    return tree / path.lstrip("/")


def prune(tree: Path, paths: Mapping[str, list[str]]) -> None:
    """Remove the files without a place in the stand-in. `paths` maps a Debian package to its files."""
    for folder in DROPPED_FOLDERS:
        shutil.rmtree(in_tree(tree, folder), ignore_errors=True)
    for folder in EMPTIED_FOLDERS:
        place = in_tree(tree, folder)
        for entry in place.iterdir() if place.exists() else ():
            _remove(entry)
        place.mkdir(parents=True, exist_ok=True)
    for folder in MADE_FOLDERS:
        in_tree(tree, folder).mkdir(parents=True, exist_ok=True)
    kept = {path for name, shipped in paths.items() if not DROPPED.match(name) for path in shipped}
    dropped = {path for name, shipped in paths.items() if DROPPED.match(name) for path in shipped}
    # Folders come after their contents, and are removed only if they are empty.
    for path in sorted({*dropped, *DROPPED_FILES} - kept, reverse=True):
        place = in_tree(tree, path)
        if not _is_folder(place):
            place.unlink(missing_ok=True)
        elif not any(place.iterdir()):
            place.rmdir()


def _remove(place: Path) -> None:
    if _is_folder(place):
        shutil.rmtree(place)
    else:
        place.unlink()


def _is_folder(place: Path) -> bool:
    return place.is_dir() and not place.is_symlink()


def put_in(tree: Path, overlay: Path) -> set[str]:
    """Write the overlay's files and their links; return their paths."""
    written = set()
    for source in sorted(path for path in overlay.rglob("*") if path.is_file()):
        path = f"/{source.relative_to(overlay)}"
        target = in_tree(tree, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        shutil.copyfile(source, target)
        target.chmod(0o644)
        written.add(path)
    for path, destination in LINKS.items():
        link = in_tree(tree, path)
        link.unlink(missing_ok=True)
        link.symlink_to(destination)
        written.add(path)
    return written


def walk(tree: Path) -> tuple[list[str], list[str]]:
    """Return folders and files (with links) of the tree, as absolute paths in it, in a fixed order."""
    folders, files = [], []
    for place, names, others in os.walk(tree):
        names.sort()
        path = place[len(str(tree)) :]
        if path:
            folders.append(path)
        files += [f"{path}/{name}" for name in others]
        # os.walk counts a link to a folder as a folder.
        files += [f"{path}/{name}" for name in names if Path(place, name).is_symlink()]
    return folders, sorted(files)


def deal_out(files: list[str], owners: Mapping[str, Package], overlay: set[str]) -> list[str]:
    """Give every file to its package, and the overlay to the release package. Return the files without a package."""
    release = next(package for package in owners.values() if package.name == RELEASE_PACKAGE)
    setup = next(package for package in owners.values() if package.name == "setup")
    nobodys = []
    for path in files:
        if path in overlay:
            release.files.append(path)
        elif owner := owners.get(path) or owners.get(_source_of(path)):
            owner.files.append(path)
        elif path in ACCOUNTS:
            setup.files.append(path)
        else:
            nobodys.append(path)
    return nobodys


def _source_of(path: str) -> str:
    """Return the source of a compiled module: /a/b.py for /a/__pycache__/b.cpython-311.pyc."""
    match = re.match(r"(.*)/__pycache__/([^/]*)\.cpython-\d+\.pyc\Z", path)
    return f"{match[1]}/{match[2]}.py" if match else path


def subpackage(package: Package, known: Mapping[str, Package]) -> Iterator[str]:
    version, release = package.version
    yield f"%package -n {package.name}"
    yield f"Version: {version}\nRelease: {release}\nSummary: {_text(package.summary)}"
    if package.name != package.debian_name:
        yield f"Provides: {package.debian_name} = %{{version}}-%{{release}}"
    for provided in PROVIDES.get(package.name, ()):
        yield f"Provides: {provided}"
    # A package that asks for /bin/x means /usr/bin/x.
    for path in package.files:
        if re.match(r"/usr/s?bin/[A-Za-z0-9_.+-]+\Z", path):
            yield f"Provides: {path.removeprefix('/usr')}"
    needed = {known[name].name for name in package.depends if name in known and known[name].files} - {package.name}
    if package.name not in ("setup", RELEASE_PACKAGE):
        needed.add(FOLDER_OWNER)
    yield from (f"Requires: {name}" for name in sorted(needed))
    yield f"%description -n {package.name}\nDebian's {package.debian_name}, turned into an RPM.\n"
    yield f"%files -n {package.name}"
    yield from (_file_line(path) for path in package.files)
    yield ""


def folder_package(folders: list[str], files: list[str]) -> Iterator[str]:
    yield f"%package -n {FOLDER_OWNER}\nVersion: {VERSION}\nRelease: 1{DIST}"
    yield "Summary: All folders, and the files that Debian's maintainer scripts have made"
    yield f"%description -n {FOLDER_OWNER}\nAll folders, and the files that Debian's maintainer scripts have made.\n"
    yield f"%files -n {FOLDER_OWNER}"
    yield from (f"%dir {_quoted(path)}" for path in folders)
    yield from (_file_line(path) for path in files)
    yield ""


# As in glibc's own package: a package with a library need not update the cache (rpm, file triggers).
LDCONFIG = """\
%transfiletriggerin -n glibc-common -p /bin/sh -P 2000000 -- /usr/lib /usr/lib64
/usr/sbin/ldconfig
%transfiletriggerpostun -n glibc-common -p /bin/sh -P 2000000 -- /usr/lib /usr/lib64
/usr/sbin/ldconfig
"""


def _file_line(path: str) -> str:
    if path in ACCOUNTS:
        return f"%verify(not md5 size mtime) %config(noreplace) {_quoted(path)}"
    return f"%config(noreplace) {_quoted(path)}" if path.startswith("/etc/") else _quoted(path)


def _quoted(path: str) -> str:
    """Escape a path, because rpm reads globs and macros in file lists."""
    return '"' + re.sub(r"([\[*?{])", r"[\1]", path).replace("%", "%%") + '"'


def _text(text: str) -> str:
    return text.replace("%", "%%")


def specification(tree: Path, overlay: Path) -> str:
    packages = {package.debian_name: package for package in installed_packages(tree)}
    info = tree / "var/lib/dpkg/info"
    names = {path.name.removesuffix(".list").partition(":")[0] for path in info.glob("*.list")}
    paths = {name: list(shipped_paths(tree, name)) for name in sorted(names)}
    prune(tree, paths)
    written = put_in(tree, overlay)
    folders, files = walk(tree)
    owners = {path: packages[name] for name, shipped in paths.items() if name in packages for path in shipped}
    nobodys = deal_out(files, owners, written)
    lines = [PREAMBLE]
    for package in packages.values():
        if package.files:
            lines += subpackage(package, packages)
    lines += [*folder_package(folders, nobodys), LDCONFIG]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tree", type=Path)
    parser.add_argument("--overlay", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.output.write_text(specification(arguments.tree, arguments.overlay), encoding="utf-8")


if __name__ == "__main__":
    main()
