"""What was left behind, and whose it is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alts.distributions import Family
from alts.packages.apt import Apt
from alts.shared.report import Finding, Kind, Severity
from alts.snapshots.leftovers import find_leftovers, shown
from alts.snapshots.rules import Rule, Rules, rules_for
from alts.snapshots.snapshot import FileState, Process, Snapshot
from alts.stages.base import Observations, StageAnswer, StageContext, StageLog
from alts.stages.install import install
from alts.stages.leftovers import leftovers
from alts.stages.purge import purge
from alts.stages.remove import remove
from alts.stages.snapshot import snapshot
from alts.stop import Stop
from tests.builders import a_spec
from tests.fakes import Answer, FakeDebian, FakeInstance

FILE = FileState("f", 0o644, 0, 0, 10, 1)
CHANGED = FILE._replace(size=11)
FOLDER = FileState("d", 0o755, 0, 0, 0, 0)
RULES = Rules(
    left_paths=(
        Rule(("/var/log/**",), "logs"),
        Rule(("**/__pycache__/**",), "compiled", Severity.WARNING),
    ),
    left_users=(Rule(("kept",), "kept"),),
    left_processes=(Rule(("gpg-agent **",), "ends by itself"),),
)


def found(before: Snapshot, after: Snapshot, owned: frozenset[str] = frozenset()) -> list[tuple[Kind, Severity, str]]:
    findings = [one.finding for one in find_leftovers(before, after, RULES, owned=owned)]
    return [(finding.kind, finding.severity, finding.message) for finding in findings]


def files(**added: FileState) -> Snapshot:
    """Of /etc, and what is added to it, spelled etc__x for /etc/x."""
    return Snapshot(files={"/etc": FOLDER, **{f"/{path.replace('__', '/')}": state for path, state in added.items()}})


def test_a_machine_as_it_was_has_nothing_left() -> None:
    assert found(files(), files()) == []


def test_what_was_added_together_is_told_once() -> None:
    after = files(etc__x=FOLDER, etc__x__y=FOLDER, etc__x__y__conf=FILE, **{"etc__x-a": FILE})

    assert found(files(), after) == [
        (Kind.LEFTOVER_FILE, Severity.ERROR, "/etc/x was left behind, with what is in it"),
        (Kind.LEFTOVER_FILE, Severity.ERROR, "/etc/x-a was left behind"),
    ]


def test_empty_folders_do_little_harm() -> None:
    assert found(files(), files(srv__x=FOLDER, srv__x__y=FOLDER)) == [
        (Kind.LEFTOVER_FILE, Severity.WARNING, "/srv/x was left behind, empty")
    ]


def test_what_may_stay_is_not_told_of() -> None:
    assert found(files(), files(var__log__x=FOLDER, var__log__x__log=FILE)) == []


def test_what_is_in_a_folder_decides_about_it() -> None:
    after = Snapshot(files={"/usr/x": FOLDER, "/usr/x/__pycache__": FOLDER, "/usr/x/__pycache__/a.pyc": FILE})

    assert [severity for _, severity, _ in found(Snapshot(), after)] == [Severity.WARNING]


def test_what_another_package_owns_is_its_business() -> None:
    after = files(etc__x=FOLDER, etc__x__conf=FILE, etc__x__more=FILE)

    assert found(files(), after, owned=frozenset({"/etc/x", "/etc/x/conf"})) == [
        (Kind.LEFTOVER_FILE, Severity.ERROR, "/etc/x/more was left behind")
    ]


@pytest.mark.parametrize(
    ("now", "evidence"),
    [
        (FILE._replace(size=11), "size 10, then 11"),
        (FILE._replace(mode=0o600, uid=7), "mode 0644, then 0600; owner 0:0, then 7:0"),
    ],
)
def test_what_was_changed_and_not_put_back_is_told(now: FileState, evidence: str) -> None:
    [leftover] = find_leftovers(files(etc__a=FILE), files(etc__a=now), RULES, owned=())

    assert leftover.finding.kind is Kind.LEFTOVER_FILE
    assert leftover.finding.message == "/etc/a was changed and not put back"
    assert leftover.finding.evidence == evidence


OTHER = {"dpkg": "1.21"}


@pytest.mark.parametrize(
    ("path", "old", "packages", "told"),
    [
        ("/usr/bin/dpkg", FILE, OTHER, True),
        ("/usr/bin/dpkg", FILE, {"dpkg": "1.22"}, False),
        ("/usr/bin/dpkg", FILE._replace(type="l", target="dpkg-1"), OTHER, False),
        ("/usr/lib/locale/archive", FILE, OTHER, False),
    ],
    ids=["a program", "of another version", "a link, such as to an alternative", "data"],
)
def test_a_program_of_another_package_is_nobody_s_to_change(
    path: str, old: FileState, packages: dict[str, str], *, told: bool
) -> None:
    before, after = Snapshot(files={path: old}, packages=OTHER), Snapshot(files={path: CHANGED}, packages=packages)

    assert bool(found(before, after, owned=frozenset({path}))) is told


def test_what_was_written_and_put_back_is_fine() -> None:
    assert found(files(etc__a=FILE), files(etc__a=FILE._replace(mtime=99))) == []


def test_what_is_gone_is_missed() -> None:
    before = files(opt__x=FOLDER, opt__x__y=FILE)

    assert found(before, files()) == [
        (Kind.MISSING_FILE, Severity.ERROR, "/opt/x was there before the package came, and is gone")
    ]


def test_what_went_with_its_package_is_not_missed() -> None:
    before = Snapshot(files={"/opt/x": FILE}, packages={"x": "1"})

    assert found(before, Snapshot()) == []


def test_a_user_and_the_group_of_his_name_are_one() -> None:
    after = Snapshot(users={"x": "100:100", "kept": "1"}, groups={"x": "100:", "y": "101:", "kept": "1"})

    assert found(Snapshot(), after) == [
        (Kind.LEFTOVER_USER, Severity.ERROR, "the group y was left behind"),
        (Kind.LEFTOVER_USER, Severity.ERROR, "the user and the group x were left behind"),
    ]


LOCKED = "100:101::/var/lib/x:/usr/sbin/nologin"


@pytest.mark.parametrize(
    ("user", "archive", "left"),
    [
        (LOCKED, True, False),
        (LOCKED, False, True),
        (LOCKED.replace("/usr/sbin/nologin", "/bin/sh"), True, True),
        (LOCKED.replace("/usr/sbin/nologin", ""), True, True),
        (LOCKED.replace("100:", "1000:"), True, True),
        (LOCKED.replace("100:", "0:"), True, True),
    ],
    ids=["locked", "brought", "shell", "default shell", "person", "root"],
)
def test_system_users_of_the_distributions_own_packages_may_stay(user: str, archive: bool, left: bool) -> None:
    after = Snapshot(users={"x": user}, groups={"x": "101:"})

    leftovers = find_leftovers(Snapshot(), after, rules_for(Family.DEB), owned=(), archive=archive)

    assert [one.user for one in leftovers] == (["x"] if left else [])


def test_the_empty_home_of_a_user_who_may_stay_may_stay_too() -> None:
    after = Snapshot(
        users={"x": LOCKED}, groups={"x": "101:"}, files={"/var/lib/x": FOLDER, "/var/lib/x/y": FOLDER, "/srv": FOLDER}
    )

    def left(after: Snapshot, *, archive: bool) -> list[str]:
        found = find_leftovers(Snapshot(), after, rules_for(Family.DEB), owned=(), archive=archive)
        return [one.path for one in found if one.path]

    assert left(after, archive=True) == ["/srv"]
    assert left(after, archive=False) == ["/srv", "/var/lib/x"]
    assert left(replace(after, files={**after.files, "/var/lib/x/data": FILE}), archive=True) == ["/srv", "/var/lib/x"]


def test_a_process_is_known_by_its_command() -> None:
    before = Snapshot(processes=(Process(1, 0, "init"), Process(5, 1, "sleep 9")))
    after = Snapshot(
        processes=(
            Process(1, 0, "init"),
            Process(8, 1, "sleep 9"),
            Process(9, 1, "sleep 9"),
            Process(20, 1, "xd --work /tmp/xd.4711/run"),
            # A child of what is told of already.
            Process(21, 20, "xd worker"),
            Process(22, 1, "gpg-agent --daemon"),
        )
    )

    leftovers = find_leftovers(before, after, RULES, owned=())

    assert [(one.finding.message, one.finding.evidence) for one in leftovers] == [
        ("sleep still runs", "sleep 9"),
        ("xd still runs", "xd --work /tmp/.../run"),
    ]


def test_a_long_list_is_cut_and_counted() -> None:
    findings = [Finding(kind=Kind.LEFTOVER_FILE, message=f"{number:02}") for number in range(9)]
    findings.append(Finding(kind=Kind.LEFTOVER_FILE, message="empty", severity=Severity.WARNING))

    assert [finding.message for finding in shown(findings, 3)] == ["00", "01", "02", "empty", "and 6 more of this kind"]


@pytest.mark.parametrize("family", list(Family))
def test_the_rules_are_complete(family: Family) -> None:
    rules = rules_for(family)

    assert all(rule.why for rule in (*rules.unseen_paths, *rules.left_paths, *rules.left_users, *rules.left_processes))
    assert rules.unseen("/proc")
    assert rules.unseen("/proc/1/stat")
    assert not rules.unseen("/process")
    assert rules.of_path("/var/log/x/y.log")
    assert rules.of_path("/etc/x.conf") is None
    assert not rules.is_the_machines("/etc/x.conf")


def test_settings_of_the_machine_may_be_left_and_may_yet_come() -> None:
    rules = rules_for(Family.DEB)

    assert rules.of_path("/etc/modules") == rules.of_path("/etc/crypttab")
    assert rules.is_the_machines("/etc/modules")
    # Logs may be left, but a link to one that is not there is worth a word.
    assert rules.of_path("/var/log/x")
    assert not rules.is_the_machines("/var/log/x")


class TestStage:
    """The stage, on a machine that is only told of."""

    def run(self, debian: FakeDebian, purges: list[tuple[str, ...]] | None = None) -> StageAnswer:
        """`purges` takes the names of each purge."""
        instance, seen = FakeInstance(debian.programs), Observations()
        answer = StageAnswer()
        for action in (snapshot, install, remove, purge, leftovers):
            context = StageContext(a_spec(), instance, Apt(), Stop(60), StageLog(), seen)
            answer = action(context)
            if purges is not None:
                commands = [done.argv for done in context.commands if "purge" in done.argv]
                purges += [argv[argv.index("--") + 1 :] for argv in commands]
        assert list(seen.snapshots)[:4] == ["before", "installed", "removed", "purged"]
        return answer

    def test_a_clean_package_leaves_nothing(self) -> None:
        assert self.run(FakeDebian()) == StageAnswer()

    def test_a_leftover_is_the_package_s_where_nobody_else_came(self) -> None:
        debian = FakeDebian()
        debian.litter["hello"] = ("/etc/hello.conf",)

        [finding] = self.run(debian).findings

        assert (finding.kind, finding.severity) == (Kind.LEFTOVER_FILE, Severity.ERROR)
        assert finding.evidence == "/etc/hello.conf"

    @pytest.mark.parametrize(
        ("default", "severity"), [("false", Severity.INFO), ("true", Severity.ERROR)], ids=["kept", "told to delete"]
    )
    def test_data_that_a_purge_asks_about_may_stay(self, default: str, severity: Severity) -> None:
        debian = FakeDebian()
        debian.litter["hello"] = ("/etc/hello.conf", "/var/lib/hello/data")
        debian.templates["hello"] = f"Template: hello/purge_data\nType: boolean\nDefault: {default}\n"

        findings = self.run(debian).findings

        assert [(finding.severity, finding.evidence) for finding in findings] == [
            (Severity.ERROR, "/etc/hello.conf"),
            (severity, "/var/lib/hello/data"),
        ]

    def test_dependencies_are_taken_away_too(self) -> None:
        debian = FakeDebian()
        debian.needs["hello"] = ("libhello",)

        assert self.run(debian) == StageAnswer()
        assert debian.installed == {}

    def test_what_went_along_is_purged_while_its_dependencies_are_there(self) -> None:
        debian = FakeDebian()
        debian.needs["hello"] = ("hello-plugin", "ucf")
        debian.takes_along["hello"] = ("hello-plugin",)

        purges: list[tuple[str, ...]] = []
        answer = self.run(debian, purges)

        assert answer == StageAnswer()
        assert purges == [("hello",), ("hello-plugin",), ("ucf",)]

    def test_what_a_dependency_leaves_by_itself_is_not_held_against_the_package(self) -> None:
        debian = FakeDebian()
        debian.needs["hello"] = ("libhello",)
        debian.litter = {"hello": ("/etc/hello.conf",), "libhello": ("/etc/libhello.conf",)}

        findings = self.run(debian).findings

        assert [(finding.severity, finding.evidence) for finding in findings] == [
            (Severity.ERROR, "/etc/hello.conf"),
            (Severity.INFO, "/etc/libhello.conf"),
        ]

    def test_a_dependency_that_cannot_be_removed_leaves_a_doubt(self) -> None:
        debian = FakeDebian()
        debian.needs["hello"] = ("libhello",)
        debian.litter = {"hello": ("/etc/hello.conf",)}
        debian.overrides["--allow-remove-essential"] = Answer(100, "E: no\n")

        [finding] = self.run(debian).findings

        assert finding.severity is Severity.WARNING
        assert finding.message == "/etc/hello.conf was left behind; its dependencies cannot be removed"

    def test_a_mirror_that_is_away_when_dependencies_are_tried_is_ours(self) -> None:
        debian = FakeDebian()
        debian.needs["hello"] = ("libhello",)
        debian.litter = {"hello": ("/etc/hello.conf",)}
        debian.overrides["--no-install-recommends"] = Answer(
            100, "E: Failed to fetch http://deb.debian.org/x.deb  503  Service Unavailable\n"
        )

        [finding] = self.run(debian).findings

        assert finding.kind is Kind.REPOSITORY_UNREACHABLE

    def test_a_package_that_was_not_removed_leaves_nothing_to_judge(self) -> None:
        instance, seen = FakeInstance(FakeDebian().programs), Observations()
        context = StageContext(a_spec(), instance, Apt(), Stop(60), StageLog(), seen)
        snapshot(context)

        assert leftovers(context).skipped == "the package was not removed"
