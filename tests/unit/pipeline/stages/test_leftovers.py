"""Leftovers of a package, and their owners."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from alts.checks.leftovers.find import find_leftovers, shown
from alts.checks.leftovers.sysusers import declarations, declared_names
from alts.checks.state.rules import Rule, Rules, rules_for
from alts.checks.state.snapshot import FileState, Process, Snapshot
from alts.core.stop import Stop
from alts.package_managers.apt.manager import Apt
from alts.pipeline.context import StageContext
from alts.pipeline.observations import Observations
from alts.pipeline.stage import StageAnswer
from alts.pipeline.stage_log import StageLog
from alts.pipeline.stages.install import install
from alts.pipeline.stages.leftovers import leftovers
from alts.pipeline.stages.purge import purge
from alts.pipeline.stages.remove import remove
from alts.pipeline.stages.snapshot import snapshot
from alts.shared.models.distributions import Family
from alts.shared.models.report import Finding, Kind, Severity
from tests.support.builders import a_spec
from tests.support.fakes import Answer, FakeDebian, FakeInstance

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
    """Return /etc with additions, spelled etc__x for /etc/x."""
    return Snapshot(files={"/etc": FOLDER, **{f"/{path.replace('__', '/')}": state for path, state in added.items()}})


def test_a_machine_as_it_was_has_nothing_left() -> None:
    assert found(files(), files()) == []


def test_what_was_added_together_is_told_once() -> None:
    after = files(etc__x=FOLDER, etc__x__y=FOLDER, etc__x__y__conf=FILE, **{"etc__x-a": FILE})

    assert found(files(), after) == [
        (Kind.LEFTOVER_FILE, Severity.ERROR, "/etc/x was left behind, with its contents"),
        (Kind.LEFTOVER_FILE, Severity.ERROR, "/etc/x-a was left behind"),
    ]


def test_empty_folders_do_little_harm() -> None:
    assert found(files(), files(srv__x=FOLDER, srv__x__y=FOLDER)) == [
        (Kind.LEFTOVER_FILE, Severity.WARNING, "/srv/x was left behind, empty")
    ]


@pytest.mark.parametrize(("family", "told"), [(Family.RPM, 0), (Family.DEB, 1)])
def test_shared_folders_may_stay_where_the_package_manager_leaves_them(family: Family, told: int) -> None:
    after = {"/usr/share/zsh": FOLDER, "/usr/share/zsh/site-functions": FOLDER}

    def left(files: dict[str, FileState]) -> list[Severity]:
        found = find_leftovers(Snapshot(), Snapshot(files=files), rules_for(family), owned=())
        return [one.finding.severity for one in found]

    assert left(after) == [Severity.WARNING] * told
    assert left(after | {"/usr/share/zsh/_x": FILE}) == [Severity.ERROR]
    assert left({"/usr/share/man/man1/x.1": FILE}) == [Severity.ERROR]


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
    assert leftover.finding.message == "/etc/a was changed and not restored"
    assert leftover.finding.evidence == evidence


OTHER = {"dpkg": "1.21"}


@pytest.mark.parametrize(
    ("path", "old", "packages", "told"),
    [
        ("/usr/bin/dpkg", FILE, OTHER, True),
        ("/usr/bin/dpkg", FILE, {"dpkg": "1.22"}, False),
    ],
    ids=["a program", "of another version"],
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
        (Kind.MISSING_FILE, Severity.ERROR, "/opt/x existed before the installation and is gone")
    ]


def test_an_empty_folder_that_nobody_owns_may_go_with_the_package() -> None:
    before = files(opt=FOLDER, opt__y=FOLDER)

    assert found(before, files()) == []
    assert found(before, files(), frozenset({"/opt"})) == [
        (Kind.MISSING_FILE, Severity.ERROR, "/opt existed before the installation and is gone")
    ]


def test_a_changed_file_of_another_package_is_told() -> None:
    [leftover] = find_leftovers(
        files(etc__a=FILE), files(etc__a=FILE._replace(mode=0o4755)), RULES, owned=frozenset({"/etc/a"})
    )

    assert (leftover.finding.kind, leftover.finding.severity) == (Kind.MODIFIED_FILE, Severity.ERROR)
    assert leftover.finding.message == "/etc/a, which belongs to another package, was changed and not restored"
    assert leftover.changed


def test_what_another_package_brought_with_a_newer_version_is_its_business() -> None:
    before = replace(files(etc__a=FILE), packages={"a": "1"})
    after = replace(files(etc__a=FILE._replace(size=99)), packages={"a": "2"})

    assert found(before, after, frozenset({"/etc/a"})) == []


GAMES = "5:60:games:/usr/games:/usr/sbin/nologin"


def test_a_user_who_was_there_before_must_stay_as_he_was() -> None:
    before = Snapshot(users={"games": GAMES}, groups={"sudo": "27:", "mail": "8:b,a"})
    after = Snapshot(users={"games": GAMES.replace("5:", "0:")}, groups={"sudo": "27:games", "mail": "8:a,b"})

    leftovers = find_leftovers(before, after, RULES, owned=())

    assert [(one.finding.kind, one.finding.message) for one in leftovers] == [
        (Kind.LEFTOVER_USER, "the group sudo was changed and not restored"),
        (Kind.LEFTOVER_USER, "the user games was changed and not restored"),
    ]
    assert leftovers[0].finding.evidence == "sudo:27:, then sudo:27:games"
    # No dependency is to blame just because the name exists without the package, too.
    assert not any(one.is_in(after, since=after) for one in leftovers)


def test_a_group_of_a_user_who_was_left_behind_is_told_of_once() -> None:
    before, after = Snapshot(groups={"mail": "8:"}), Snapshot(users={"x": LOCKED}, groups={"mail": "8:x"})

    assert [one.user for one in find_leftovers(before, after, RULES, owned=())] == ["x"]


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


@pytest.mark.parametrize("family", list(Family))
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
def test_system_users_of_the_distributions_own_packages_may_stay(
    user: str, archive: bool, left: bool, family: Family
) -> None:
    after = Snapshot(users={"x": user}, groups={"x": "101:"})

    leftovers = find_leftovers(Snapshot(), after, rules_for(family), owned=(), archive=archive)

    assert [one.user for one in leftovers] == (["x"] if left else [])


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize(
    ("user", "left"), [(LOCKED, False), (LOCKED.replace("/usr/sbin/nologin", "/bin/sh"), True)], ids=["locked", "shell"]
)
def test_declared_system_users_may_stay_whoever_brings_them(family: Family, user: str, *, left: bool) -> None:
    after = Snapshot(users={"x": user, "y": LOCKED}, groups={"x": "101:"})

    leftovers = find_leftovers(Snapshot(), after, rules_for(family), owned=(), declared={"x"})

    assert [one.user for one in leftovers] == (["x", "y"] if left else ["y"])


def test_users_and_groups_are_declared_for_sysusers() -> None:
    content = "# u no - -\nu _x - 'X Y' /var/lib/x\nu! _y 7\n\ng _z -\nm _a _b\nr - 500-900\n"

    assert list(declared_names(content)) == ["_x", "_y", "_z", "_a", "_b"]
    assert declarations(["/usr/lib/sysusers.d/x.conf", "/usr/lib/sysusers.d/README", "/etc/sysusers.d/y.conf"]) == [
        "/etc/sysusers.d/y.conf",
        "/usr/lib/sysusers.d/x.conf",
    ]


@pytest.mark.parametrize("name", ["diversions", "statoverride"])
def test_what_dpkg_was_told_of_other_files_must_be_taken_back(name: str) -> None:
    rules, path = rules_for(Family.DEB), f"/var/lib/dpkg/{name}"

    def left(state: FileState) -> int:
        return len(find_leftovers(Snapshot(), Snapshot(files={path: state}), rules, owned=()))

    assert not rules.unseen(path)
    assert rules.unseen("/var/lib/dpkg/status")
    assert left(FILE) == 1
    assert left(FILE._replace(size=0)) == 0


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
            # A child of a reported folder.
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
    # Logs may be left, but a link to a missing one is reported.
    assert rules.of_path("/var/log/x")
    assert not rules.is_the_machines("/var/log/x")


class TestStage:
    """Run the stage on a machine that exists as text only."""

    def run(self, debian: FakeDebian, purges: list[tuple[str, ...]] | None = None) -> StageAnswer:
        """`purges` collects the names of each purge."""
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

    def test_users_are_declared_while_the_package_is_there(self) -> None:
        debian = FakeDebian()
        debian.litter["hello"] = ("/usr/lib/sysusers.d/hello.conf",)
        cat = {"cat": lambda argv: Answer(output=f"u _{argv[-1].rpartition('/')[2]} -\n")}
        instance, seen = FakeInstance({**debian.programs, **cat}), Observations()

        for action in (snapshot, install):
            action(StageContext(a_spec(), instance, Apt(), Stop(60), StageLog(), seen))

        assert seen.declared == {"_hello.conf"}

    @pytest.mark.parametrize("verb", ["purge", "/bin/sh"])
    def test_what_could_not_be_taken_away_leaves_a_doubt(self, verb: str) -> None:
        debian = FakeDebian()
        debian.needs["hello"] = ("libhello",)
        debian.litter = {"hello": ("/etc/hello.conf",)}
        instance, seen = FakeInstance(debian.programs), Observations()
        for action in (snapshot, install, remove, purge):
            action(StageContext(a_spec(), instance, Apt(), Stop(60), StageLog(), seen))
        right = debian.programs[verb if verb.startswith("/") else "apt-get"]
        tried = False

        def failing(argv: Sequence[str]) -> Answer:
            """Answer apt's second purge, which is of the tried dependencies, or the service's own script."""
            nonlocal tried
            if "--simulate" in argv:
                return right(argv)
            wrong = "--" in argv if verb.startswith("/") else verb in argv and tried
            tried = tried or verb in argv
            return Answer(1, "no\n") if wrong else right(argv)

        instance = FakeInstance({**debian.programs, verb if verb.startswith("/") else "apt-get": failing})
        [finding] = leftovers(StageContext(a_spec(), instance, Apt(), Stop(60), StageLog(), seen)).findings

        assert (
            finding.message
            == "/etc/hello.conf was left behind; perhaps left by a dependency, which could not be tested alone"
        )

    def test_dependencies_are_taken_away_too(self) -> None:
        debian = FakeDebian()
        debian.needs["hello"] = ("libhello",)

        assert self.run(debian) == StageAnswer()
        assert debian.installed == {}

    @pytest.mark.parametrize(
        ("conffiles", "purged"), [({"hello-plugin"}, [("hello-plugin",), ("ucf",)]), (set(), [("ucf",)])]
    )
    def test_what_went_along_and_kept_something_is_purged_while_its_dependencies_are_there(
        self, conffiles: set[str], purged: list[tuple[str, ...]]
    ) -> None:
        debian = FakeDebian()
        debian.needs["hello"] = ("hello-plugin", "ucf")
        debian.takes_along["hello"] = ("hello-plugin",)
        debian.conffiles = conffiles

        purges: list[tuple[str, ...]] = []
        answer = self.run(debian, purges)

        assert answer == StageAnswer()
        assert purges == purged
        assert debian.unpurged == {}

    @pytest.mark.parametrize(("conffiles", "purges"), [({"hello"}, [("hello",)]), ({"libhello"}, []), (set(), [])])
    def test_only_what_dpkg_still_knows_is_purged(self, conffiles: set[str], purges: list[tuple[str, ...]]) -> None:
        debian = FakeDebian()
        debian.conffiles = conffiles

        purged: list[tuple[str, ...]] = []

        assert self.run(debian, purged) == StageAnswer()
        assert purged == purges
        assert debian.unpurged == {}

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
        assert (
            finding.message
            == "/etc/hello.conf was left behind; perhaps left by a dependency, which could not be removed"
        )

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
