"""Check that the dynamic loader finds the libraries that ELF files need, by the rules of ld.so(8). Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from alts.checks.integrity.elf import AARCH64, I386, X86_64, Elf, ElfKind
from alts.checks.integrity.interpreters import PROGRAMS
from alts.checks.integrity.search_path import folders_of
from alts.checks.state.tree import Tree
from alts.shared.models import report
from alts.shared.models.report import Finding, Severity

_LOADERS = ("ld-linux", "ld64.so", "ld.so")
"""Beginnings of the names of glibc's loaders on all architectures (glibc, sysdeps/**/shlib-versions)."""

# The folders built into glibc, those of Debian's and of Fedora's families together. On a machine of one family the
# folders of the other hold no library of the same kind.
_DEFAULT: Mapping[ElfKind, tuple[str, ...]] = {
    X86_64: ("lib/x86_64-linux-gnu", "lib64", "lib"),
    I386: ("lib/i386-linux-gnu", "lib/i686-linux-gnu", "lib32", "lib"),
    AARCH64: ("lib/aarch64-linux-gnu", "lib64", "lib"),
}


class _Found(Enum):
    SEARCHED = "where the loader looks"
    ELSEWHERE = "in a folder that the loader does not search by itself"
    NOWHERE = "nowhere"


@dataclass(frozen=True)
class LoaderView:
    """The files and settings from which the loader chooses a library."""

    tree: Tree
    kind: ElfKind
    """The kind of the machine's own programs. Files of other kinds have loaders of their own and are not judged."""
    cache: Mapping[tuple[str, ElfKind], str]
    """(name, kind) → path, from alts.checks.integrity.loader_cache."""
    kinds: Mapping[str, ElfKind]
    """Path without links → kind, for each ELF file that has the name of a needed library."""

    @property
    def default_folders(self) -> tuple[str, ...]:
        """The folders built into the loader, in its order, below / and /usr."""
        words = _DEFAULT.get(self.kind, ("lib64", "lib"))
        return tuple(f"{root}/{word}" for word in words for root in ("", "/usr"))

    @property
    def lib_words(self) -> tuple[str, ...]:
        """The values that $LIB may have in a search path, for example "lib64"."""
        return _DEFAULT.get(self.kind, ("lib64", "lib"))


def library_findings(path: str, elf: Elf, machine: LoaderView) -> Iterator[Finding]:
    """Yield a finding for each library that the file needs and the loader does not find.

    A plugin may need a library that its host has loaded already, or that comes with a suggested package. For a plugin
    this is a warning at most, and no finding if the library is anywhere on the machine.
    """
    if elf.interpreter and not posixpath.basename(elf.interpreter).startswith(_LOADERS):
        # Another C library's loader searches other folders.
        return
    for name in elf.needed:
        found = _look_for(name, path, elf, machine)
        severity = _severity(found, path, elf, machine)
        if severity is Severity.INFO:
            continue
        where = "is not installed" if found is _Found.NOWHERE else "is in no folder that the loader searches"
        message = f"{path} needs {name}, which {where}"
        yield Finding(kind=report.Kind.MISSING_LIBRARY, severity=severity, message=message, evidence=f"NEEDED {name}")


def _look_for(name: str, path: str, elf: Elf, machine: LoaderView) -> _Found:
    if "/" in name:
        return _Found.SEARCHED if _loads(name, machine) else _Found.NOWHERE
    if any(_loads(f"{folder}/{name}", machine) for folder in folders_of(path, elf, machine.lib_words)):
        return _Found.SEARCHED
    cached = machine.cache.get((name, machine.kind))
    if cached is not None and machine.tree.exists(cached):
        return _Found.SEARCHED
    if any(_loads(f"{folder}/{name}", machine) for folder in machine.default_folders):
        return _Found.SEARCHED
    if any(machine.kinds.get(end) == machine.kind for end in machine.tree.named(name)):
        return _Found.ELSEWHERE
    return _Found.NOWHERE


def _loads(path: str, machine: LoaderView) -> bool:
    return machine.kinds.get(machine.tree.end(path)) == machine.kind


def _severity(found: _Found, path: str, elf: Elf, machine: LoaderView) -> Severity:
    folder = posixpath.dirname(path)
    if found is _Found.SEARCHED:
        return Severity.INFO
    if elf.interpreter:
        # A program outside these folders is started by another program, which may set LD_LIBRARY_PATH.
        broken = found is _Found.NOWHERE or folder in PROGRAMS
        return Severity.ERROR if broken else Severity.INFO
    if found is _Found.ELSEWHERE:
        return Severity.INFO
    public = {machine.tree.place(default) for default in machine.default_folders}
    public |= {posixpath.dirname(machine.tree.end(cached)) for cached in machine.cache.values()}
    return Severity.ERROR if folder in public else Severity.WARNING
