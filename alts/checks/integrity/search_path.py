"""The search path in an ELF file, RPATH or RUNPATH, and unsafe folders in it. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from itertools import islice

from alts.checks.integrity.elf import Elf
from alts.checks.state.tree import Tree
from alts.shared.models.report import Finding, Kind

_ORIGIN = re.compile(r"\$(?:ORIGIN\b|\{ORIGIN\})")
_LIB = re.compile(r"\$(?:LIB\b|\{LIB\})")
_PLATFORM = re.compile(r"\$(?:PLATFORM\b|\{PLATFORM\})")

_MOST_ELEMENTS = 256  # that are looked at; no real search path has a tenth of that

# Folders where any user can put a library.
_WRITABLE = re.compile(r"/(?:tmp|var/tmp|dev/shm|run/user|var/lock|run/lock)(?:/|\Z)")
# Folders where packages are built. On another machine a user may own the same folder and put other libraries there.
_BUILD = re.compile(
    r"\A/(?:build|builddir|buildd|home|root|usr/src|var/lib/jenkins|workspace)(?:/|\Z)"
    r"|/BUILD(?:ROOT)?(?:/|\Z)|/\.libs(?:/|\Z)"
)


def elements_of(elf: Elf) -> tuple[str, str]:
    """Return the tag that counts and its text; two empty texts if there is neither.

    The loader ignores RPATH in a file with RUNPATH (ld.so(8)).
    """
    if elf.runpath is not None:
        return "RUNPATH", elf.runpath
    return ("RPATH", elf.rpath) if elf.rpath is not None else ("", "")


def folders_of(path: str, elf: Elf, lib_words: tuple[str, ...]) -> Iterator[str]:
    """Yield the folders of the file's own search path in order.

    `lib_words`: the possible values of $LIB, for example "lib64". Elements with $PLATFORM, the processor, are left out.
    """
    _, text = elements_of(elf)
    for element in islice(filter(None, text.split(":")), _MOST_ELEMENTS):
        if _PLATFORM.search(element):
            continue
        expanded = _ORIGIN.sub(lambda _: posixpath.dirname(path), element)
        for word in lib_words if _LIB.search(expanded) else ("",):
            yield posixpath.normpath(_LIB.sub(lambda _, word=word: word, expanded))  # type: ignore[misc]


def search_path_findings(path: str, elf: Elf, tree: Tree) -> Iterator[Finding]:
    """Yield a finding for each unsafe element of the file's own search path."""
    tag, text = elements_of(elf)
    # The loader treats an empty text as no search path (glibc, elf/dl-load.c, decompose_rpath).
    if not text:
        return
    for element in islice(dict.fromkeys(text.split(":")), _MOST_ELEMENTS):
        expanded = _ORIGIN.sub(lambda _: posixpath.dirname(path), element)
        if why := _wrong(element, posixpath.normpath(expanded) if expanded else "", tree):
            message = f'{path}: its {tag} contains "{element}", {why}'
            yield Finding(kind=Kind.BAD_RPATH, message=message, evidence=f"{tag} {text}")


def _wrong(element: str, folder: str, tree: Tree) -> str:
    if not element:
        return "an empty element, which means the current directory"
    if not folder.startswith(("/", "$")):
        return "which is relative to the current directory"
    if _WRITABLE.match(folder) or tree.anybody_may_write(folder):
        return "where any user can put a library"
    if _BUILD.search(folder):
        return "a folder of the build machine"
    return ""
