"""Changes of a machine, in short and in full."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from alts.checks.state.difference import FILE_LINES, LINES, LONGEST_LINE, brief_changes, whole_changes
from alts.checks.state.grouping import cut, grouped
from alts.checks.state.services import services_of
from alts.checks.state.snapshot import FileState, Process, Snapshot
from alts.shared.models.report import Change

FILE = FileState("f", 0o644, 0, 0, 10, 1)
FOLDER = FileState("d", 0o755, 0, 0, 0, 0)
BEFORE = Snapshot(
    files={"/etc": FOLDER, "/etc/passwd": FILE, "/etc/old": FILE},
    users={"root": "0"},
    processes=(Process(1, 0, "init"),),
    packages={"bash": "5.2", "old": "1"},
)
AFTER = Snapshot(
    files={
        "/etc": FOLDER,
        "/etc/passwd": FILE._replace(size=20, mode=0o600),
        "/opt/x": FOLDER,
        "/opt/x/link": FileState("l", 0o777, 0, 0, 4, 1, "file"),
        "/etc/systemd/system/x.service": FILE,
    },
    users={"root": "0", "x": "100"},
    groups={"x": "100"},
    processes=(Process(1, 0, "init"), Process(9, 1, "x --daemon")),
    listening=frozenset({"tcp 0.0.0.0:80"}),
    packages={"bash": "5.2.1", "x": "1"},
)
MOMENTS = {"before": BEFORE, "installed": AFTER, "removed": BEFORE}


def test_each_moment_is_compared_with_the_next() -> None:
    assert [(one.since, one.until) for one in brief_changes(MOMENTS)] == [
        ("before", "installed"),
        ("installed", "removed"),
    ]
    assert brief_changes({"before": BEFORE}) == ()


def test_everything_that_changed_is_told() -> None:
    change = brief_changes(MOMENTS)[0]

    assert change.files == Change(
        # The entries below the folder imply it.
        added=("/etc/systemd/system/x.service", "/opt/x/link"),
        changed=("/etc/passwd",),
        removed=("/etc/old",),
    )
    assert change.users.added == ("x",)
    assert change.groups.added == ("x",)
    assert change.services.added == ("systemd x.service",)
    assert change.processes.added == ("x --daemon",)
    assert change.listening.added == ("tcp 0.0.0.0:80",)
    assert change.packages == Change(added=("bash 5.2.1", "x 1"), removed=("bash 5.2", "old 1"))


def test_the_whole_of_it_says_what_each_file_is() -> None:
    files = whole_changes(MOMENTS)[0].files

    assert files.added == (
        "/etc/systemd/system/x.service: -rw-r--r-- 0:0 10",
        "/opt/x: drwxr-xr-x 0:0",
        "/opt/x/link: lrwxrwxrwx 0:0 to file",
    )
    assert files.changed == ("/etc/passwd: -rw-r--r-- 0:0 10 → -rw------- 0:0 20",)


def test_many_files_are_told_by_their_folders() -> None:
    paths = [f"/usr/share/locale/{name}/hello.mo" for name in "abcdef"] + ["/usr/bin/hello"]

    assert grouped(paths, 5) == ("/usr/bin/hello", "/usr/share/locale/ (6 files)")
    assert grouped(paths, 7) == tuple(sorted(paths))
    assert grouped([], 5) == ()


@given(st.lists(st.text("abc/", min_size=1, max_size=8).map(lambda text: f"/{text}"), max_size=60), st.integers(4, 12))
def test_a_grouping_is_short_sorted_and_complete(paths: list[str], limit: int) -> None:
    lines = grouped(paths, limit)

    assert list(lines) == sorted(lines)
    assert len(lines) <= limit
    counts = [int(line.rpartition("(")[2].split()[0]) if line.endswith(" files)") else 1 for line in lines]
    assert sum(counts) == len(paths)


def test_a_report_stays_small() -> None:
    after = Snapshot(
        files={f"/srv/{number % 97}/{number}": FILE for number in range(5000)},
        packages={f"p{number}": "1" for number in range(500)},
    )

    change = brief_changes({"before": Snapshot(), "installed": after})[0]

    assert len(change.files.added) <= FILE_LINES
    assert len(change.packages.added) == LINES
    assert change.packages.added[-1] == "... and 461 more"
    assert len(whole_changes({"before": Snapshot(), "installed": after})[0].files.added) == 5000


def test_a_long_line_is_cut_in_a_report_and_a_deep_path_breaks_nothing() -> None:
    deep, process = f"/{'a/' * 3000}file", Process(7, 1, "sleep " + "0" * 900_000)
    [change] = brief_changes({"before": Snapshot(), "installed": Snapshot(files={deep: FILE}, processes=(process,))})

    [path], [command] = change.files.added, change.processes.added
    assert (path[:7], path[-6:]) == ("/a/a/a/", "a/file")
    assert command.startswith("sleep 000")
    assert len(path) <= LONGEST_LINE >= len(command)


def test_what_fits_is_not_cut() -> None:
    assert cut(("a", "b"), 2) == ("a", "b")


def test_services_are_known_by_their_files() -> None:
    paths = [
        "/usr/lib/systemd/system/nginx.service",
        "/etc/systemd/system/multi-user.target.wants/nginx.service",
        "/etc/init.d/nginx",
        "/etc/cron.daily/logrotate",
        "/etc/cron.d/.placeholder",
        "/var/spool/cron/crontabs/root",
        "/usr/lib/systemd/system-generators/x.service",
    ]

    assert sorted(services_of(dict.fromkeys(paths, FILE))) == [
        "cron /etc/cron.daily/logrotate",
        "cron /var/spool/cron/crontabs/root",
        "enabled nginx.service",
        "init.d nginx",
        "systemd nginx.service",
    ]
