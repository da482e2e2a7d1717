"""Missing interpreters of scripts and missing loaders of ELF programs. Pure."""

from __future__ import annotations

import posixpath

from alts.checks.integrity.elf import Elf
from alts.checks.state.tree import Tree
from alts.shared.models.report import Finding, Kind

PROGRAMS = ("/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/games", "/usr/local/bin", "/usr/local/sbin")
"""The folders of programs that users start by name."""

FIRST_LINE = 256
"""Bytes of a script in which the kernel looks for the interpreter (execve(2), since Linux 5.1)."""


def is_started(path: str, mode: int) -> bool:
    """Return whether users start the file by name. In other folders another program may start it in any way."""
    return posixpath.dirname(path) in PROGRAMS and bool(mode & 0o111)


def loader_finding(path: str, elf: Elf, tree: Tree) -> Finding | None:
    """Return a finding if the loader that a program asks for is missing.

    The kernel reports this only as "No such file or directory".
    """
    if not elf.interpreter.startswith("/") or posixpath.dirname(path) not in PROGRAMS or tree.exists(elf.interpreter):
        return None
    return Finding(
        kind=Kind.MISSING_LIBRARY,
        message=f"{path} needs the loader {elf.interpreter}, which is not installed",
        evidence=f"INTERP {elf.interpreter}",
    )


def interpreter_finding(path: str, first: bytes, tree: Tree) -> Finding | None:
    """Return a finding if the interpreter of a script is missing.

    `first`: the first bytes of the file. Of a file that is no script there is no finding.
    """
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
        message=f"{path} needs the interpreter {wanted or interpreter}, which is not installed",
        evidence=f"#!{' '.join(words)}",
    )


def _words(first: bytes) -> list[str]:
    line, _, _ = first.partition(b"\n")
    return line[2:].decode(errors="backslashreplace").split() if line.startswith(b"#!") else []


def _of_env(arguments: list[str]) -> str:
    """Return the program that env(1) would start: "-S python3 -E" → "python3"."""
    return next((word for word in arguments if not word.startswith("-") and "=" not in word), "")
