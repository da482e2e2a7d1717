"""The output of the capturing command is read back."""

from __future__ import annotations

import pytest

from alts.checks.state.capture import CAPTURE_PATH, UnreadableCapture, capture_argv, read_capture
from alts.checks.state.rules import Rule, Rules
from alts.checks.state.snapshot import FileState, Process, Snapshot
from alts.package_managers.apt.manager import Apt

SECTIONS = {
    "packages": "hello\t2.10-3\tamd64\tinstalled\ndpkg\t1.21\tamd64\tinstalled\n",
    "users": "root:x:0:0:root:/root:/bin/bash\n",
    "groups": "root:x:0:\nadm:x:4:syslog\n",
    "self": "20\n",
    "stat": "1 (docker-init) S 0 1 1 0\n7 (a b) c) S 1 7 7 0\n8 (gone) Z 1 8 8 0\n"
    "20 (sh) S 0 20 20 0\n21 (cat) R 20 20 20 0\n",
    "commands": "/proc/1/cmdline:/sbin/docker-init\0/proc/1/cmdline:--\0/proc/7/cmdline:sleep\0/proc/7/cmdline:9\0",
    "find": "f\t644\t0\t42\t10\t1700000000.123456789\t/etc/shadow\0\0l\t777\t0\t0\t7\t1700000000.0\t/lib\0usr/lib\0"
    "d\t1777\t0\t0\t4096\t1700000001.9\t/srv\0\0",
}


def capture(**changes: str) -> bytes:
    return "".join(f"\x1e{name}\n{text}" for name, text in ({**SECTIONS, **changes}).items()).encode()


def read(content: bytes, rules: Rules | None = None) -> Snapshot:
    return read_capture(content, Apt(), rules or Rules())


def test_files_are_what_lstat_says_of_them() -> None:
    assert read(capture()).files == {
        "/etc/shadow": FileState("f", 0o644, 0, 42, 10, 1700000000),
        "/lib": FileState("l", 0o777, 0, 0, 7, 1700000000, "usr/lib"),
        # Its size and time change with every entry, and each entry is reported itself.
        "/srv": FileState("d", 0o1777, 0, 0, 0, 0),
    }


def test_a_machine_without_findutils_says_the_same() -> None:
    content = capture()
    walked = "81a4\t0\t42\t10\t1700000000\t/etc/shadow\0/etc/shadow\0a1ff\t0\t0\t7\t1700000000\t/lib\0/lib -> usr/lib\0"
    walked += "43ff\t0\t0\t4096\t1700000001\t/srv\0/srv\0"
    head, _, _ = content.partition(b"\x1efind\n")

    assert read(head + b"\x1estat-files\n" + walked.encode()) == read(content)


def test_a_name_may_hold_anything() -> None:
    content = capture(find="f\t644\t0\t0\t1\t1\t/a\nb\tc\x1edd\0\0").replace(b"dd\0", b"\xff\0")

    assert list(read(content).files) == ["/a\nb\tc\x1e\\xff"]


def test_what_no_snapshot_looks_at_is_left_out() -> None:
    rules = Rules(unseen_paths=(Rule(("/srv/**", "/l?b"), "for this test"),))

    assert list(read(capture(), rules).files) == ["/etc/shadow"]


def test_users_and_groups_come_without_passwords() -> None:
    taken = read(capture(users="root:secret:0:0:root:/root:/bin/bash\n"))

    assert taken.users == {"root": "0:0:root:/root:/bin/bash"}
    assert taken.groups == {"root": "0:", "adm": "4:syslog"}


def test_processes_come_without_zombies_and_without_those_that_look() -> None:
    assert read(capture()).processes == (Process(1, 0, "/sbin/docker-init --"), Process(7, 1, "sleep 9"))


def test_the_shell_that_started_the_capture_is_left_out_with_its_other_commands() -> None:
    parents = {1: 0, 7: 1, 15: 0, 16: 15, 20: 16}
    stat = "".join(f"{pid} (sh) S {parent} 0 0 0\n" for pid, parent in parents.items())

    assert [process.pid for process in read(capture(stat=stat)).processes] == [1, 7]


def test_a_process_without_arguments_has_its_name() -> None:
    assert read(capture(commands="")).processes[1].command == "[a b) c]"


def test_packages_are_read_by_their_manager() -> None:
    assert read(capture()).packages == {"hello": "2.10-3", "dpkg": "1.21"}


@pytest.mark.parametrize(
    ("section", "line", "listening"),
    [
        ("tcp", "0: 0100007F:0050 00000000:0000 0A 0 0 0 0 0 1", "tcp 127.0.0.1:80"),
        ("tcp6", "0: 00000000000000000000000001000000:0016 0:0 0A 0 0 0 0 0 1", "tcp6 [::1]:22"),
        ("udp", "0: 00000000:0035 00000000:0000 07 0 0 0 0 0 1", "udp 0.0.0.0:53"),
        ("unix", "0000: 00000002 00000000 00010000 0001 01 4711 /run/x y", "unix /run/x y"),
        ("tcp", "0: 0100007F:0050 0100007F:9999 01 0 0 0 0 0 1", None),
        ("unix", "0000: 00000002 00000000 00000000 0001 01 4711 /run/x", None),
    ],
)
def test_who_listens_is_named_by_address(section: str, line: str, listening: str | None) -> None:
    content = f"\x1e{section}\ntitle\n{line}\n".encode() + capture()

    assert read(content).listening == ({listening} if listening else set())


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x1epackages\n", capture(find="f\tnonsense\0\0")])
def test_what_is_no_capture_is_refused(content: bytes) -> None:
    with pytest.raises(UnreadableCapture):
        read(content)


def test_the_packages_are_listed_by_the_same_command() -> None:
    argv = capture_argv(Apt())

    assert argv[:2] == ("/bin/sh", "-c")
    assert argv[4:] == (CAPTURE_PATH, *Apt().installed_packages().argv)
