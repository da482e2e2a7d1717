"""Whether what starts a program is there: the interpreter of a script, the loader of an ELF file. Pure."""

from __future__ import annotations

import posixpath

from alts.checks.integrity.elf import Elf
from alts.checks.state.tree import Tree
from alts.shared.models.report import Finding, Kind

PROGRAMS = ("/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/games", "/usr/local/bin", "/usr/local/sbin")
"""Where programs are that anybody starts just so."""

FIRST_LINE = 256
"""Bytes of a script in which the kernel looks for its interpreter (execve(2), since Linux 5.1)."""


def is_started(path: str, mode: int) -> bool:
    """Whether it is a program that anybody starts just so: elsewhere others may start it as they like."""
    return posixpath.dirname(path) in PROGRAMS and bool(mode & 0o111)


def loader_finding(path: str, elf: Elf, tree: Tree) -> Finding | None:
    """Of a program for which the kernel would not find a loader: it can only say "No such file or directory"."""
    if not elf.interpreter.startswith("/") or posixpath.dirname(path) not in PROGRAMS or tree.exists(elf.interpreter):
        return None
    return Finding(
        kind=Kind.MISSING_LIBRARY,
        message=f"{path} needs the loader {elf.interpreter}, which this machine does not have",
        evidence=f"INTERP {elf.interpreter}",
    )


def interpreter_finding(path: str, first: bytes, tree: Tree) -> Finding | None:
    """Of a script, by its first bytes."""
    words = _words(first)
    if not words:
        return None
    interpreter, *arguments = words
    wanted = _of_env(arguments) if posixpath.basename(interpreter) == "env" and tree.exists(interpreter) else ""
    found = any(tree.exists(f"{folder}/{wanted}") for folder in PROGRAMS) if wanted else tree.exists(interpreter)
    if found or not interpreter.startswith("/") or "/" in wanted:
        return None
    return Finding(
        kind=Kind.MISSING_FILE,
        message=f"{path} is a script for {wanted or interpreter}, which this machine does not have",
        evidence=f"#!{' '.join(words)}",
    )


def _words(first: bytes) -> list[str]:
    line, _, _ = first.partition(b"\n")
    return line[2:].decode(errors="backslashreplace").split() if line.startswith(b"#!") else []


def _of_env(arguments: list[str]) -> str:
    """What env(1) would start: "-S python3 -E" → "python3"."""
    return next((word for word in arguments if not word.startswith("-") and "=" not in word), "")
