"""The order of stages, and the attribution of faults."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from alts.checks.state.capture import CAPTURE_PATH
from alts.core.instance import Instance, MachineRuined
from alts.core.output import OutputSink
from alts.core.stop import Stop, Stopped, StopReason
from alts.package_managers.apt.manager import Apt
from alts.pipeline.plans import FULL, PLANS, STANDARD, with_timeouts
from alts.pipeline.run import PlanResult, Run, run_plan
from alts.pipeline.stage import Stage
from alts.shared.errors import ConfigurationError, ImageUnavailable, ProvisionFailed
from alts.shared.models.report import Kind, Outcome, StageResult, outcome_of_stages
from tests.support.builders import a_spec
from tests.support.fakes import SHA256, Answer, FakeDebian, FakeInstance


def run(
    instance: FakeInstance,
    *,
    stop: Stop | None = None,
    plan: tuple[Stage, ...] = STANDARD,
    provide: Callable[[Stop, OutputSink], Instance] | None = None,
    show: Callable[[tuple[StageResult, ...]], None] = lambda stages: None,
    logs: dict[str, str] | None = None,
    **spec: object,
) -> PlanResult:
    kept = {} if logs is None else logs

    def keep(stage: str, text: str) -> str:
        kept[stage] = text
        return f"memory://{stage}.log"

    return run_plan(
        plan,
        Run(
            spec=a_spec(**spec),
            packages=Apt(),
            stop=stop or Stop(60),
            provide=provide or (lambda stop, log: instance),
            keep_log=keep,
            show=show,
        ),
    )


def outcomes(result: PlanResult) -> dict[str, Outcome]:
    return {stage.stage: stage.outcome for stage in result.stages}


def reason(result: PlanResult, name: str) -> str:
    return next(stage.reason for stage in result.stages if stage.stage == name)


def only_finding(result: PlanResult) -> Kind:
    [finding] = [finding for stage in result.stages for finding in stage.findings]
    return finding.kind


def with_plan_timeout(name: str, seconds: float) -> tuple[Stage, ...]:
    return tuple(replace(stage, timeout=seconds) if stage.name == name else stage for stage in STANDARD)


def test_a_stage_names_its_steps_in_their_order() -> None:
    result = run(FakeInstance(FakeDebian().programs))

    steps = {stage.stage: [step.name for step in stage.steps] for stage in result.stages}
    assert steps["prepare"][0] == "make the machine"
    assert steps["prepare"][-1].endswith("apt-get --quiet update")
    assert steps["snapshot"] == ["snapshot of the machine, before", "snapshot of the machine, before: read"]
    assert any("install hello=2.10-3" in name for name in steps["install"])
    for stage in result.stages:
        times = [step.at for step in stage.steps]
        assert times == sorted(times)
        assert sum(step.seconds for step in stage.steps) <= stage.seconds + 0.001 * (len(times) + 1)


def test_a_good_package_passes_every_stage_in_the_order_of_the_plan() -> None:
    logs: dict[str, str] = {}

    result = run(FakeInstance(FakeDebian().programs), logs=logs)

    assert [stage.stage for stage in result.stages] == [stage.name for stage in STANDARD] == list(logs)
    assert outcome_of_stages(result.stages) is Outcome.PASSED
    assert not any(stage.exit_code for stage in result.stages)
    assert result.seen.package is not None
    assert "$ apt-get" in logs["install"]


def test_a_package_that_no_repository_has_fails_and_skips_what_needs_it() -> None:
    result = run(FakeInstance(FakeDebian({}).programs))

    assert outcomes(result) == {
        "prepare": Outcome.PASSED,
        "system_info": Outcome.PASSED,
        "snapshot": Outcome.PASSED,
        "install": Outcome.FAILED,
        "right_package": Outcome.SKIPPED,
        "integrity": Outcome.SKIPPED,
        "remove": Outcome.SKIPPED,
        "purge": Outcome.SKIPPED,
        "leftovers": Outcome.SKIPPED,
    }
    assert only_finding(result) is Kind.PACKAGE_NOT_FOUND
    assert reason(result, "remove") == "install has not passed"
    assert reason(result, "purge") == "remove was skipped: install has not passed"


def test_a_version_that_no_repository_has_fails_and_says_what_there_is() -> None:
    result = run(FakeInstance(FakeDebian().programs), package_version="9.9")

    assert only_finding(result) is Kind.VERSION_NOT_AVAILABLE
    [install] = [stage for stage in result.stages if stage.stage == "install"]
    assert "2.10-3" in install.findings[0].evidence


def test_an_installation_that_only_pretends_fails() -> None:
    debian = FakeDebian()
    debian.overrides["install"] = Answer(0, "Setting up hello ...\n")

    result = run(FakeInstance(debian.programs))

    assert only_finding(result) is Kind.INSTALL_FAILED


def test_another_version_than_the_wanted_one_fails() -> None:
    debian = FakeDebian()
    debian.overrides["install"] = Answer()
    debian.installed["hello"] = "1.0"

    assert only_finding(run(FakeInstance(debian.programs))) is Kind.WRONG_PACKAGE_INSTALLED


def test_a_removal_that_only_pretends_fails() -> None:
    debian = FakeDebian()
    debian.overrides["remove"] = Answer()

    assert only_finding(run(FakeInstance(debian.programs))) is Kind.REMOVAL_FAILED


def test_an_essential_package_is_not_removed_and_that_is_said() -> None:
    debian = FakeDebian()
    debian.overrides["remove"] = Answer(100, "E: Essential packages were removed and -y was used without x.\n")
    instance = FakeInstance(debian.programs)

    result = run(instance)

    assert outcome_of_stages(result.stages) is Outcome.PASSED
    assert [outcomes(result)[name] for name in ("remove", "purge", "leftovers")] == [Outcome.SKIPPED] * 3
    assert reason(result, "remove") == "removing hello would remove essential packages"
    assert reason(result, "purge") == f"remove was skipped: {reason(result, 'remove')}"
    removals = [argv for argv in instance.commands if {"remove", "purge"} & set(argv)]
    assert ["--simulate" in argv for argv in removals] == [True, False]


def test_a_script_that_prints_apt_s_refusal_has_failed() -> None:
    debian = FakeDebian()
    debian.overrides["remove"] = Answer(
        100,
        "Removing hello (2.10-3) ...\nE: Essential packages were removed and -y was used without x.\n"
        "dpkg: error processing package hello (--remove):\n"
        " installed hello package pre-removal script subprocess returned error exit status 1\n",
    )

    assert only_finding(run(FakeInstance(debian.programs))) is Kind.SCRIPTLET_FAILED


def test_a_package_that_dpkg_has_forgotten_is_not_purged_and_that_is_said() -> None:
    instance, logs = FakeInstance(FakeDebian().programs), dict[str, str]()

    result = run(instance, logs=logs)

    [purge] = [stage for stage in result.stages if stage.stage == "purge"]
    assert (purge.outcome, purge.exit_code) == (Outcome.PASSED, None)
    assert "[nothing to purge: after the removal the package database has no record of hello]\n" in logs["purge"]
    assert not [argv for argv in instance.commands if "purge" in argv]
    assert result.seen.snapshots["purged"] is result.seen.snapshots["removed"]


def test_a_package_with_conffiles_is_purged_and_the_machine_looked_at_again() -> None:
    debian = FakeDebian()
    debian.conffiles.add("hello")
    instance = FakeInstance(debian.programs)

    result = run(instance)

    assert outcomes(result)["purge"] is Outcome.PASSED
    assert [argv[-1] for argv in instance.commands if "purge" in argv and "--simulate" not in argv] == ["hello"]
    assert result.seen.snapshots["removed"].unpurged == {"hello"}
    assert result.seen.snapshots["purged"].unpurged == frozenset()


def test_a_failed_purge_is_not_also_held_against_what_it_left() -> None:
    debian = FakeDebian()
    debian.conffiles.add("hello")
    debian.overrides["purge"] = Answer(100, "dpkg: error processing package hello (--purge):\n")

    result = run(FakeInstance(debian.programs))

    assert only_finding(result) is Kind.REMOVAL_FAILED
    assert reason(result, "leftovers") == "purge has failed"


def test_a_package_that_came_with_the_machine_is_not_proved_and_that_is_said() -> None:
    debian = FakeDebian()
    debian.installed["hello"] = "2.10-3"

    result = run(FakeInstance(debian.programs))

    assert outcomes(result)["right_package"] is Outcome.SKIPPED
    assert reason(result, "right_package").startswith("hello 2.10-3 came with the base image")


def test_what_was_installed_is_proved() -> None:
    result = run(FakeInstance(FakeDebian().programs))

    assert result.seen.identity is not None
    assert result.seen.identity.repository == "http://deb.debian.org/debian bookworm/main amd64 Packages"
    assert (result.seen.identity.file, result.seen.identity.sha256) == ("pool/hello.deb", SHA256)
    assert result.seen.closure == ("hello 2.10-3",)


def test_a_file_that_is_not_what_the_index_promises_fails() -> None:
    programs = {**FakeDebian().programs, "find": lambda argv: Answer(output=f"{'f' * 64}  /var/cache/apt/alts/h.deb\n")}

    assert only_finding(run(FakeInstance(programs))) is Kind.CHECKSUM_MISMATCH


def test_a_file_that_is_gone_proves_nothing_and_that_is_ours() -> None:
    programs = {**FakeDebian().programs, "find": lambda argv: Answer()}

    assert only_finding(run(FakeInstance(programs))) is Kind.INTERNAL


KILLED = " installed hello package post-installation script subprocess returned error exit status 137\n"


def counts(**files: str) -> str:
    """tail(1)'s output for the kernel's counts.

    The argument memory__memory_oom_control is "memory/memory.oom_control".
    """
    paths = {name: name.replace("__", "/").replace("memory_", "memory.").replace("pids_", "pids.") for name in files}
    return "".join(f"==> /sys/fs/cgroup/{paths[name]} <==\n{text}\n\n" for name, text in files.items())


OOM = counts(memory_events="low 0\nhigh 0\nmax 9\noom 1\noom_kill 1")
HOST_OOM = counts(memory_events="low 0\nhigh 0\nmax 0\noom 0\noom_kill 1")
OOM_1 = counts(
    memory__memory_oom_control="under_oom 0\noom_kill 1",
    memory__memory_limit_in_bytes="536870912",
    memory__memory_max_usage_in_bytes="536866816",
)
HOST_OOM_1 = OOM_1.replace("536866816", "302276608")
NO_OOM_1 = OOM_1.replace("oom_kill 1", "oom_kill 0")
FALSE_OOM = HOST_OOM
NO_OOM = counts(memory_events="low 0\nhigh 0\nmax 9\noom 0\noom_kill 0", pids_events="max 0")
NO_PROCESS_LEFT = counts(memory_events="max 9\noom 0\noom_kill 0", pids_events="max 12")
UNFORKED = "sh: 1: Cannot fork\n installed hello package post-installation script returned error exit status 2\n"


@pytest.mark.parametrize(
    ("answer", "counted", "kind"),
    [
        (Answer(100, KILLED), OOM, Kind.OUT_OF_MEMORY),
        (Answer(100, KILLED), NO_OOM, Kind.SCRIPTLET_FAILED),
        (Answer(100, KILLED), OOM_1, Kind.OUT_OF_MEMORY),
        (Answer(100, KILLED), NO_OOM_1, Kind.SCRIPTLET_FAILED),
        (Answer(100, KILLED), FALSE_OOM + NO_OOM_1, Kind.SCRIPTLET_FAILED),
        (Answer(100, KILLED), "tail: cannot open '/sys/fs/cgroup/memory.events'\n", Kind.OUT_OF_MEMORY),
        (Answer(137, ""), OOM, Kind.OUT_OF_MEMORY),
        (Answer(137, ""), NO_OOM, Kind.INSTALL_FAILED),
        (Answer(100, UNFORKED), NO_PROCESS_LEFT, Kind.PROCESS_LIMIT_EXCEEDED),
        (Answer(100, UNFORKED), NO_OOM, Kind.INSTALL_FAILED),
    ],
    ids=[
        "the kernel did it",
        "somebody did it",
        "the kernel did it, version 1",
        "somebody did it, version 1",
        "somebody did it, and wrote another count",
        "nobody knows",
        "apt itself",
        "apt itself, by somebody",
        "no process is left",
        "only said so",
    ],
)
def test_a_failure_is_put_down_to_the_machine_s_limits_where_the_kernel_says_so(
    answer: Answer, counted: str, kind: Kind
) -> None:
    debian = FakeDebian()
    debian.overrides["install"] = answer

    result = run(FakeInstance({**debian.programs, "tail": lambda argv: Answer(output=counted)}))

    assert only_finding(result) is kind


@pytest.mark.parametrize("counted", [HOST_OOM, HOST_OOM_1], ids=["version 2", "version 1"])
def test_a_host_without_memory_that_kills_the_package_s_script_is_ours(counted: str) -> None:
    debian = FakeDebian()
    debian.overrides["install"] = Answer(100, KILLED)

    result = run(FakeInstance({**debian.programs, "tail": lambda argv: Answer(output=counted)}))

    assert outcomes(result)["install"] is Outcome.ERRORED
    assert only_finding(result) is Kind.INTERNAL
    assert result.retryable


def ruining(debian: FakeDebian, program: str) -> FakeInstance:
    """Return a machine in which the program fills the disk."""

    def fill(argv: Sequence[str]) -> Answer:
        raise MachineRuined(Kind.DISK_LIMIT_EXCEEDED, "the machine used more than its disk limit of 1 MB")

    return FakeInstance({**debian.programs, program: fill})


def test_a_machine_that_is_used_up_before_the_package_came_is_not_the_package_s_doing() -> None:
    result = run(ruining(FakeDebian(), "apt-get"))

    assert outcomes(result)["prepare"] is Outcome.ERRORED
    assert only_finding(result) is Kind.DISK_FULL


def test_a_machine_that_is_used_up_by_the_package_fails_it_and_nothing_more_is_asked_of_it() -> None:
    result = run(ruining(FakeDebian(), "find"))

    assert outcome_of_stages(result.stages) is Outcome.FAILED
    assert only_finding(result) is Kind.DISK_LIMIT_EXCEEDED
    assert reason(result, "remove") == "right_package did not finish"


_EXIT_CODES = {"sh: 26: cat: not found\n": 127, "something else\n": 1, "\n": 2}


@pytest.mark.parametrize(
    ("said", "counted", "kind"),
    [
        ("sh: 0: Cannot fork\n", NO_PROCESS_LEFT, Kind.PROCESS_LIMIT_EXCEEDED),
        # The shell's message is lost if it could not start a command with 2>/dev/null.
        ("\n", NO_PROCESS_LEFT, Kind.PROCESS_LIMIT_EXCEEDED),
        ("\n", NO_OOM, None),
        ("Killed\n", OOM, Kind.OUT_OF_MEMORY),
        ("", NO_OOM, Kind.PROCESS_LEFT_RUNNING),
        ("sh: 26: cat: not found\n", NO_OOM, Kind.INSTALL_FAILED),
        ("something else\n", NO_OOM, None),
    ],
    ids=[
        "no process is left",
        "no process is left, in silence",
        "silence",
        "no memory is left",
        "killed",
        "a program is gone",
        "ours",
    ],
)
def test_what_the_package_made_of_the_machine_is_not_our_fault_when_we_look_at_the_machine(
    said: str, counted: str, kind: Kind | None
) -> None:
    debian = FakeDebian()

    def shell(argv: Sequence[str]) -> Answer:
        if CAPTURE_PATH in argv and debian.installed:
            return Answer(_EXIT_CODES.get(said, 137), said)
        return debian.programs["/bin/sh"](argv)

    result = run(FakeInstance({**debian.programs, "/bin/sh": shell, "tail": lambda argv: Answer(output=counted)}))

    assert outcomes(result)["install"] is (Outcome.ERRORED if kind is None else Outcome.FAILED)
    assert only_finding(result) is (kind or Kind.INTERNAL)


@pytest.mark.parametrize(
    ("program", "word", "stage"),
    [
        ("dpkg-query", "--show", "install"),
        ("find", "", "right_package"),
        ("/bin/sh", "dpkg.cfg", "integrity"),
        ("/bin/sh", "--listfiles", "integrity"),
    ],
)
def test_whichever_query_is_first_to_find_no_process_left_the_package_has_used_them_up(
    program: str, word: str, stage: str
) -> None:
    debian = FakeDebian()

    def unforked(argv: Sequence[str]) -> Answer:
        if debian.installed and word in " ".join(argv):
            return Answer(2, "/bin/sh: 1: Cannot fork\n")
        return debian.programs[program](argv)

    result = run(
        FakeInstance({**debian.programs, program: unforked, "tail": lambda argv: Answer(output=NO_PROCESS_LEFT)})
    )

    assert outcomes(result)[stage] is Outcome.FAILED
    assert only_finding(result) is Kind.PROCESS_LIMIT_EXCEEDED


@pytest.mark.parametrize(
    ("program", "stage", "kind"),
    [
        ("find", "right_package", Kind.INSTALL_FAILED),
        ("dpkg", "integrity", Kind.INSTALL_FAILED),
        ("apt-get", "remove", Kind.REMOVAL_FAILED),
    ],
)
def test_a_package_that_takes_the_machine_s_programs_away_has_failed(program: str, stage: str, kind: Kind) -> None:
    debian = FakeDebian()

    def gone(argv: Sequence[str]) -> Answer:
        if program == "apt-get" and "remove" not in argv:
            return debian.programs[program](argv)
        if not debian.installed:
            return debian.programs[program](argv)
        return Answer(127, f"sh: 1: exec: {program}: not found\n")

    result = run(FakeInstance({**debian.programs, program: gone}))

    assert outcomes(result)[stage] is Outcome.FAILED
    assert outcome_of_stages(result.stages) is Outcome.FAILED
    [first, *_] = [finding for one in result.stages if one.stage == stage for finding in one.findings]
    assert first.kind is kind


@pytest.mark.parametrize(
    ("program", "outcome", "kind"),
    [("find", Outcome.FAILED, Kind.INSTALL_FAILED), ("uname", Outcome.ERRORED, Kind.INSTANCE_LOST)],
    ids=["after the package came", "before"],
)
def test_a_machine_whose_first_process_ends_is_held_against_the_package_only_once_it_came(
    program: str, outcome: Outcome, kind: Kind
) -> None:
    def end(argv: Sequence[str]) -> Answer:
        raise MachineRuined(None, "a process in the machine ended its first process (PID 1)")

    result = run(FakeInstance({**FakeDebian().programs, program: end}))

    assert outcome_of_stages(result.stages) is outcome
    assert next(finding.kind for stage in result.stages for finding in stage.findings) is kind


def test_the_full_plan_goes_on_after_the_purge() -> None:
    result = run(FakeInstance(FakeDebian().programs), plan=FULL)

    assert outcome_of_stages(result.stages) is Outcome.PASSED
    assert outcomes(result)["reinstall"] is outcomes(result)["install_again"] is Outcome.PASSED
    assert reason(result, "upgrade") == "the distribution has no hello older than 2.10-3"


def test_a_deadline_may_be_set_for_a_stage_in_every_plan() -> None:
    plans = with_timeouts(PLANS, {"install": 5.0})

    assert {stage.timeout for plan in plans.values() for stage in plan if stage.name == "install"} == {5.0}
    assert [stage.name for stage in plans["full"]] == [stage.name for stage in FULL]


def test_a_deadline_for_a_stage_that_no_plan_has_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"stage_timeouts\.instal: no plan has a stage of this name"):
        with_timeouts(PLANS, {"instal": 5.0})


def test_a_modified_file_fails_but_the_removal_is_tried_all_the_same() -> None:
    debian = FakeDebian()
    debian.modified.add("/usr/bin/hello")

    result = run(FakeInstance(debian.programs))

    assert outcomes(result)["integrity"] is Outcome.FAILED
    assert outcomes(result)["remove"] is Outcome.PASSED


@pytest.mark.parametrize("verb", ["update", "install", "--verify", "remove"])
def test_a_machine_that_dies_does_not_blame_the_package(verb: str) -> None:
    result = run(FakeInstance(FakeDebian().programs, dies_at=verb))

    assert outcome_of_stages(result.stages) is Outcome.ERRORED
    assert only_finding(result) is Kind.INSTANCE_LOST
    assert result.retryable


def test_a_failure_on_a_machine_that_is_gone_afterwards_does_not_blame_the_package() -> None:
    instance = FakeInstance()
    debian = FakeDebian()

    def killed(argv: object) -> Answer:
        instance.kill()
        return Answer(137, "Killed\n")

    instance._programs = {**debian.programs, "dpkg": killed}

    assert only_finding(run(instance)) is Kind.INSTANCE_LOST


def test_a_mirror_that_does_not_answer_is_ours() -> None:
    debian = FakeDebian()
    debian.overrides["update"] = Answer(100, "E: Failed to fetch http://deb.debian.org/x  503  Unavailable\n")

    result = run(FakeInstance(debian.programs))

    assert only_finding(result) is Kind.REPOSITORY_UNREACHABLE
    assert result.retryable
    assert {stage.outcome for stage in result.stages[1:]} == {Outcome.SKIPPED}


@pytest.mark.parametrize(
    ("error", "kind"),
    [(ProvisionFailed("no"), Kind.PROVISION_FAILED), (ImageUnavailable("no"), Kind.IMAGE_UNAVAILABLE)],
)
def test_a_machine_that_never_came_is_ours(error: ProvisionFailed | ImageUnavailable, kind: Kind) -> None:
    def refuse(stop: Stop, log: OutputSink) -> Instance:
        raise error

    result = run(FakeInstance(), provide=refuse)

    assert only_finding(result) is kind
    assert outcomes(result)["prepare"] is Outcome.ERRORED


def test_a_machine_that_cannot_even_say_what_is_installed_has_not_removed_the_package() -> None:
    debian = FakeDebian()
    programs = dict(debian.programs)
    query = programs["dpkg-query"]

    def broken_by_removal(argv: Sequence[str]) -> Answer:
        gone = argv[-1] == "hello" and "hello" not in debian.installed
        return Answer(127, "sh: dpkg-query: not found\n") if gone else query(argv)

    result = run(FakeInstance({**programs, "dpkg-query": broken_by_removal}))

    assert only_finding(result) is Kind.REMOVAL_FAILED


def test_package_lists_that_cannot_be_read_are_not_the_package_s_fault() -> None:
    programs = {**FakeDebian().programs, "apt-cache": lambda argv: Answer(100 if "hello" in argv else 0)}

    assert outcome_of_stages(run(FakeInstance(programs)).stages) is Outcome.ERRORED


def test_the_end_of_the_whole_attempt_s_time_is_not_the_package_s_fault() -> None:
    debian = FakeDebian()
    debian.overrides["install"] = Answer(seconds=30)

    result = run(FakeInstance(debian.programs), stop=Stop(0.3))

    assert outcome_of_stages(result.stages) is Outcome.ERRORED
    assert result.retryable


def test_a_full_disk_of_the_worker_is_ours() -> None:
    def refuse(stop: Stop, log: OutputSink) -> Instance:
        raise OSError(errno.ENOSPC, "No space left on device")

    result = run(FakeInstance(), provide=refuse)

    assert outcome_of_stages(result.stages) is Outcome.ERRORED
    assert result.retryable


FETCHING = "Need to get 53.1 kB of archives.\nGet:1 http://deb.debian.org/debian bookworm/main amd64 hello\n"


@pytest.mark.parametrize(
    ("output", "kind", "outcome"),
    [
        (f"{FETCHING}Fetched 53.1 kB in 0s\nSetting up hello (2.10-3) ...\n", Kind.TIMEOUT, Outcome.FAILED),
        (FETCHING, Kind.REPOSITORY_UNREACHABLE, Outcome.ERRORED),
        ("Reading package lists...\n", Kind.INTERNAL, Outcome.ERRORED),
    ],
    ids=["the package's script", "the mirror", "before both"],
)
def test_a_hanging_installation_is_the_fault_of_what_hangs(output: str, kind: Kind, outcome: Outcome) -> None:
    debian = FakeDebian()
    debian.overrides["install"] = Answer(seconds=30, output=output)

    result = run(FakeInstance(debian.programs), plan=with_plan_timeout("install", 0.05))

    assert only_finding(result) is kind
    assert outcome_of_stages(result.stages) is outcome


def test_a_script_that_speaks_of_a_full_disk_fails_where_the_disk_has_room() -> None:
    debian = FakeDebian()
    debian.overrides["install"] = Answer(
        100,
        "Setting up hello (2.10-3) ...\ncp: error writing '/dev/shm/x': No space left on device\n"
        " installed hello package post-installation script subprocess returned error exit status 1\n",
    )
    roomy = Answer(0, f"{DF}overlay 61255492 12 61255480 1% /\n")

    result = run(FakeInstance({**debian.programs, "df": lambda argv: roomy if "-Pk" in argv else Answer()}))

    assert outcome_of_stages(result.stages) is Outcome.FAILED
    assert only_finding(result) is Kind.SCRIPTLET_FAILED
    assert not result.retryable


def test_a_script_that_speaks_of_a_full_disk_does_not_excuse_what_fails_after_it() -> None:
    debian = FakeDebian()
    debian.overrides["install"] = Answer(
        100,
        "Setting up hello-data (2.10-3) ...\ncp: error writing '/dev/shm/x': No space left on device\n"
        "dpkg: error processing archive /var/cache/apt/alts/hello_2.10-3_amd64.deb (--unpack):\n"
        " trying to overwrite '/usr/bin/x', which is also in package x 1.0\n",
    )
    roomy = Answer(0, f"{DF}overlay 61255492 12 61255480 1% /\n")

    result = run(FakeInstance({**debian.programs, "df": lambda argv: roomy if "-Pk" in argv else Answer()}))

    assert only_finding(result) is Kind.FILE_CONFLICT


DF = "Filesystem     1024-blocks     Used Available Capacity Mounted on\n"


@pytest.mark.parametrize("stage", ["install", "remove", "purge", "--verify"])
def test_a_package_that_fails_on_a_full_disk_is_not_to_blame(stage: str) -> None:
    debian = FakeDebian()
    debian.conffiles.add("hello")
    debian.overrides[stage] = Answer(1, "??5??????   /usr/bin/hello\nE: it goes wrong without a word of the disk\n")
    full = Answer(1, f"df: /var/lib/alts: No such file or directory\n{DF}overlay 61255492 61255492 12 100% /\n")

    result = run(FakeInstance({**debian.programs, "df": lambda argv: full if "-Pk" in argv else Answer()}))

    assert outcome_of_stages(result.stages) is Outcome.ERRORED
    assert Kind.DISK_FULL in {finding.kind for stage in result.stages for finding in stage.findings}
    assert result.retryable


@pytest.mark.parametrize("stage", ["install", "remove", "purge", "--verify"])
def test_a_package_that_fails_where_there_is_room_is_to_blame(stage: str) -> None:
    debian = FakeDebian()
    debian.conffiles.add("hello")
    debian.overrides[stage] = Answer(1, "??5??????   /usr/bin/hello\nE: it goes wrong\n")
    room = Answer(output=f"{DF}overlay 61255492 30255492 31000000 50% /\nnone 0 0 0 0% /sys\n")

    assert outcome_of_stages(run(FakeInstance({**debian.programs, "df": lambda argv: room})).stages) is Outcome.FAILED


def test_a_hanging_mirror_is_not_the_package_s_fault() -> None:
    debian = FakeDebian()
    debian.overrides["update"] = Answer(seconds=30)

    result = run(FakeInstance(debian.programs), plan=with_plan_timeout("prepare", 0.05))

    assert outcome_of_stages(result.stages) is Outcome.ERRORED


def test_a_cancel_ends_the_command_and_everything_after_it() -> None:
    stop = Stop(60)

    def cancelling(argv: object) -> Answer:
        stop.request(StopReason.CANCELLED)
        return Answer(seconds=30)

    result = run(FakeInstance({**FakeDebian().programs, "uname": cancelling}), stop=stop)

    assert outcomes(result) == {
        **dict.fromkeys((stage.name for stage in STANDARD), Outcome.SKIPPED),
        "prepare": Outcome.PASSED,
        "system_info": Outcome.CANCELLED,
    }


@pytest.mark.parametrize("reason", [StopReason.LEASE_LOST, StopReason.DRAINING])
def test_there_is_no_verdict_on_what_is_not_ours_any_more(reason: StopReason) -> None:
    stop = Stop(60)
    stop.request(reason)

    with pytest.raises(Stopped) as stopped:
        run(FakeInstance(FakeDebian().programs), stop=stop)

    assert stopped.value.reason is reason


def test_stages_are_shown_as_they_end() -> None:
    shown: list[int] = []

    run(FakeInstance(FakeDebian().programs), show=lambda stages: shown.append(len(stages)))

    assert shown == list(range(1, len(STANDARD) + 1))
