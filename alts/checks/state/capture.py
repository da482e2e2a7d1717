"""The command that captures a machine's state, and the reader of its output. Pure: argv out, bytes in.

The command uses only programs of the smallest machine: a POSIX shell, coreutils, grep, and findutils if present.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence

from alts.checks.state.rules import Rules
from alts.checks.state.snapshot import FileState, Process, Snapshot
from alts.package_managers.base import PackageManager

CAPTURE_PATH = "/.alts-snapshot"
"""The file that the command writes. Every machine has the root folder, and no package owns a file in it."""

_MARK = "\x1e"  # starts every section; files come last, because a name may contain any character

# Processes come and go during the capture, so messages about missing ones are dropped. Without find(1) the shell walks
# the folders itself, with one stat(1) per folder, which takes seconds.
_SCRIPT = r"""
set -u
umask 077
export LC_ALL=C
out=$1
shift
rm -f "$out" || exit
# 127 as for a missing program, see alts.pipeline.diagnosis.exit_codes.
for file in /etc/passwd /etc/group; do
    [ -f "$file" ] || { echo "$file is gone" >&2; exit 127; }
done

section() { printf '\036%s\n' "$1"; }

states() { QUOTING_STYLE=literal stat --printf '%f\t%u\t%g\t%s\t%Y\t%n\0%N\0' -- "$@" 2>/dev/null; }

walk() {
    set -- "$1"/* "$1"/.[!.]* "$1"/..?*
    states "$@"
    for entry do
        case $entry in /proc | /sys | /dev) continue ;; esac
        [ ! -d "$entry" ] || [ -L "$entry" ] || ( walk "$entry" )
    done
}

{
    section packages
    "$@" || exit
    section users
    cat /etc/passwd || exit
    section groups
    cat /etc/group || exit
    section self
    echo $$
    section stat
    cat /proc/[0-9]*/stat 2>/dev/null
    section commands
    grep -Haz '' /proc/[0-9]*/cmdline 2>/dev/null
    for kind in tcp tcp6 udp udp6 unix; do
        section "$kind"
        cat "/proc/net/$kind" 2>/dev/null
    done
    if command -v find >/dev/null; then
        section find
        # A file that disappears meanwhile is ignored. %Ts looks up the time zone for every file, %T@ does not.
        find / -xdev -ignore_readdir_race -printf '%y\t%m\t%U\t%G\t%s\t%T@\t%p\0%l\0' || exit
    else
        section stat-files
        states /
        walk ''
    fi
} >"$out"
"""

# States and flags from proc(5) and Linux's include/net/tcp_states.h: 0A is a listening, 07 a bound udp socket.
_LISTENS = {"tcp": "0A", "tcp6": "0A", "udp": "07", "udp6": "07"}
_ACCEPTS = 0x10000  # __SO_ACCEPTCON in /proc/net/unix

_STAT = re.compile(r"(?P<pid>\d+) \((?P<name>.*)\) (?P<state>\S) (?P<parent>\d+) ")
_COMMAND = re.compile(r"/proc/(?P<pid>\d+)/cmdline:(?P<argument>.*)", re.DOTALL)
# The records of an image's own files are the same in every snapshot of every machine. Some thirty megabytes at most.
_REMEMBERED = 32_768  # records
_SHORT = 300  # characters of a record that is remembered

_TYPES = {0o14: "s", 0o12: "l", 0o10: "f", 0o06: "b", 0o04: "d", 0o02: "c", 0o01: "p"}


class UnreadableCapture(ValueError):  # noqa: N818 - reads as what happened
    """The content is incomplete, or not from the capture command."""


def capture_argv(packages: PackageManager) -> Sequence[str]:
    """Return the command that writes the state to CAPTURE_PATH, for read_capture()."""
    return ("/bin/sh", "-c", _SCRIPT, "sh", CAPTURE_PATH, *packages.installed_packages().argv)


def read_capture(content: bytes, packages: PackageManager, rules: Rules) -> Snapshot:
    """Return the state that the command has written, without paths that the rules call unseen.

    Raises UnreadableCapture.
    """
    sections = _sections(content.decode(errors="backslashreplace"))
    missing = {"packages", "users", "groups", "self", "stat"} - sections.keys()
    if missing:
        raise UnreadableCapture(f"there is no section {', '.join(sorted(missing))}")
    try:
        return Snapshot(
            files={path: state for path, state in _files(sections) if not rules.unseen(path)},
            users=_accounts(sections["users"]),
            groups=_accounts(sections["groups"]),
            processes=_processes(sections),
            listening=frozenset(_listening(sections)),
            packages=packages.installed_packages().read(sections["packages"]),
            unpurged=packages.unpurged(sections["packages"]),
        )
    except (ValueError, KeyError) as error:
        raise UnreadableCapture(f"a line makes no sense: {error}") from error


def _sections(text: str) -> Mapping[str, str]:
    sections: dict[str, str] = {}
    _, _, rest = text.partition(_MARK)
    while rest:
        name, _, rest = rest.partition("\n")
        if name in ("find", "stat-files"):
            sections[name] = rest
            break
        sections[name], _, rest = rest.partition(_MARK)
    return sections


def _files(sections: Mapping[str, str]) -> Iterator[tuple[str, FileState]]:
    if "find" in sections:
        records = sections["find"].split("\0")
        for head, target in zip(records[::2], records[1::2], strict=False):
            read = _remembered if len(head) + len(target) <= _SHORT else _record
            yield read(head, target)
    else:
        records = sections.get("stat-files", "").split("\0")
        for head, link in zip(records[::2], records[1::2], strict=False):
            raw, uid, gid, size, mtime, path = head.split("\t", 5)
            kind = _TYPES[int(raw, 16) >> 12]
            # %N is "path -> target" for a link, and the path alone for other files.
            target = link.removeprefix(f"{path} -> ") if kind == "l" else ""
            mode = int(raw, 16) & 0o7777
            yield path, _state(FileState(kind, mode, int(uid), int(gid), int(size), int(mtime), target))


def _record(head: str, target: str) -> tuple[str, FileState]:
    """Return path and state of a record of find(1)."""
    kind, octal, uid, gid, size, mtime, path = head.split("\t", 6)
    seconds = int(mtime.partition(".")[0])
    return path, _state(FileState(kind, int(octal, 8), int(uid), int(gid), int(size), seconds, target))


_remembered = functools.lru_cache(maxsize=_REMEMBERED)(_record)


def _state(found: FileState) -> FileState:
    """Return the state without the size and time of a folder, which depend on its entries."""
    return found._replace(size=0, mtime=0) if found.type == "d" else found


def _accounts(text: str) -> Mapping[str, str]:
    accounts = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        if rest:
            accounts[name] = rest.partition(":")[2]
    return accounts


def _processes(sections: Mapping[str, str]) -> tuple[Process, ...]:
    arguments: dict[int, list[str]] = {}
    for record in sections.get("commands", "").split("\0"):
        if match := _COMMAND.match(record):
            arguments.setdefault(int(match["pid"]), []).append(match["argument"])
    found = {}
    for line in sections["stat"].splitlines():
        match = _STAT.match(line)
        # A zombie has ended; its parent has not read the exit code yet.
        if match and match["state"] not in "ZX":
            pid = int(match["pid"])
            command = " ".join(arguments.get(pid, [])).strip() or f"[{match['name']}]"
            found[pid] = Process(pid, int(match["parent"]), command)
    parents = {process.pid: process.parent for process in found.values()}
    own = _family(parents, _eldest(parents, int(sections["self"])))
    return tuple(process for pid, process in sorted(found.items()) if pid not in own)


def _eldest(parents: Mapping[int, int], pid: int) -> int:
    """Return the topmost ancestor that is not the machine's first process: commands come from outside."""
    while parents.get(pid, 0) > 1:
        pid = parents[pid]
    return pid


def _family(parents: Mapping[int, int], root: int) -> set[int]:
    """Return a process and all its descendants."""
    family = {root}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return family


def _listening(sections: Mapping[str, str]) -> Iterator[str]:
    for protocol, state in _LISTENS.items():
        for line in sections.get(protocol, "").splitlines()[1:]:
            fields = line.split()
            if len(fields) > 3 and fields[3] == state:
                yield f"{protocol} {_address(fields[1])}"
    for line in sections.get("unix", "").splitlines()[1:]:
        fields = line.split(maxsplit=7)
        if len(fields) == 8 and int(fields[3], 16) & _ACCEPTS:
            yield f"unix {fields[7]}"


def _address(text: str) -> str:
    """Return "0100007F:0050" as "127.0.0.1:80".

    The kernel prints 32-bit words in host byte order, which is little-endian on every architecture tested here.
    """
    host, _, port = text.partition(":")
    raw = b"".join(bytes.fromhex(host[at : at + 8])[::-1] for at in range(0, len(host), 8))
    address = ipaddress.ip_address(raw)
    shown = f"[{address}]" if address.version == 6 else str(address)
    return f"{shown}:{int(port, 16)}"
