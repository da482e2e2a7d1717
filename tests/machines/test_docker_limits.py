"""Exhausted resources in real containers: commands still end, and the reported cause is true."""

from __future__ import annotations

from contextlib import closing

import docker
import pytest

from alts.core.instance import MachineRuined
from alts.core.stop import Stop, StopReason
from alts.runners.docker.disk import DiskWatch
from alts.runners.docker.engine import Engine
from alts.runners.docker.instance import DockerInstance
from alts.shared.errors import DiskFull, InstanceLost
from alts.shared.models.report import Kind
from tests.corpus.hostile_debs import PTRACE_INIT
from tests.support.debian_image import debian_image
from tests.support.machine import HOST, Machine, eventually

pytestmark = pytest.mark.docker

FORKS = "perl -e 'while (1) { my $child = fork; if (defined $child && !$child) { sleep 900; exit } }'"
KEEPS_FORKING = "while (1) { fork; select undef, undef, undef, 0.02 }"
BREEDS = "b() { b | b & }; b; exec sleep 900"
# Fills two tmpfs of 64 MB each. No process is charged for their memory, so killing processes frees none of it.
FILLS_MEMORY = "for folder in /dev/shm /dev; do dd if=/dev/zero of=$folder/full bs=1M count=63 & done; wait; sleep 900"


@pytest.mark.parametrize("script", [FORKS, BREEDS], ids=["that stay", "that come and go"])
def test_a_fork_bomb_is_killed_when_its_time_is_up_and_the_machine_goes_on(script: str) -> None:
    with Machine(debian_image(), pids_limit=64) as machine:
        done = machine.instance.run(["sh", "-c", script], stop=Stop(2))

        assert done.stopped is StopReason.DEADLINE
        assert done.seconds < 20
        machine.instance.check()
        assert eventually(lambda: machine.instance.run(["sh", "-c", ": | :"], stop=Stop(10)).ok, within=10)


def test_a_machine_without_a_limit_for_processes_is_given_one() -> None:
    with Machine(debian_image()) as machine, closing(Engine(HOST)) as engine:
        engine.limit_processes(machine.name, pids=64)

        done = machine.instance.run(["sh", "-c", FORKS], stop=Stop(2))
        listed = machine.instance.run(["sh", "-c", "ls -d /proc/[0-9]*"], stop=Stop(10))
        assert done.stopped is StopReason.DEADLINE
        assert len(listed.output.split()) < 64


def test_what_kills_everything_it_sees_kills_the_command_and_not_the_machine() -> None:
    with Machine(debian_image()) as machine:
        machine.instance.run(["sh", "-c", "sleep 900 >/dev/null 2>&1 &"], stop=Stop(10))

        done = machine.instance.run(["sh", "-c", "sh -c 'kill -9 1; kill -9 -1'; echo never said"], stop=Stop(10))

        assert (done.exit_code, done.output) == (137, "")
        machine.instance.check()
        assert machine.processes() == []


def test_orphans_do_not_stay_as_zombies() -> None:
    with Machine(debian_image(), pids_limit=64) as machine:
        for _ in range(3):
            done = machine.instance.run(
                ["sh", "-c", "for i in $(seq 40); do (sleep 0.01 &) done; sleep 0.5"], stop=Stop(30)
            )
            assert done.ok, done.output


def test_a_machine_in_which_nothing_can_be_started_is_ended_with_its_command() -> None:
    with Machine(debian_image()) as machine:
        done = machine.instance.run(
            ["perl", "-e", "unlink '/bin/sh', '/bin/dash'; $| = 1; print 'gone'; sleep 900"], stop=Stop(2)
        )

        assert (done.stopped, done.output) == (StopReason.DEADLINE, "gone")
        assert done.seconds < 30
        assert not machine.instance.alive()
        machine.instance.check()


def test_a_machine_whose_first_process_was_made_to_exit_is_ruined_and_not_lost() -> None:
    with Machine(debian_image()) as machine:
        with pytest.raises(MachineRuined, match="ended its first process") as caught:
            machine.instance.run(["sh", "-c", PTRACE_INIT], stop=Stop(30))

        assert caught.value.kind is None
        with pytest.raises(MachineRuined):
            machine.instance.check()


@pytest.mark.parametrize(
    "script",
    [
        "rm -rf /usr",
        "rm -rf /usr/lib /lib64/*",
        "echo '#!' >/usr/bin/sh.new; chmod 755 /usr/bin/sh.new; mv /usr/bin/sh.new /usr/bin/sh",
    ],
    ids=["no shell", "no libraries", "a shell that is none"],
)
def test_a_machine_in_which_nothing_starts_any_more_is_ruined_where_a_new_one_starts(script: str) -> None:
    with Machine(debian_image()) as machine:
        assert machine.instance.run(["sh", "-c", f"{script}; :"], stop=Stop(30)).ok

        with pytest.raises(MachineRuined, match="no command can be started in the machine any more"):
            machine.instance.run(["true"], stop=Stop(30))


def test_a_command_starts_also_where_there_is_hardly_a_process_to_spare() -> None:
    with Machine(debian_image(), pids_limit=64) as machine:
        machine.instance.run(["sh", "-c", f"perl -e 'exit if fork; {KEEPS_FORKING}'; sleep 1"], stop=Stop(30))

        for _ in range(5):
            assert machine.instance.run(["echo", "here"], stop=Stop(60)).output.endswith("here\n")


@pytest.mark.parametrize(
    "script",
    [
        "yes >/var/tmp/full",
        "exec 3>/var/tmp/full; rm /var/tmp/full; yes >&3",
        "i=0; while i=$((i + 1)); do mkdir /srv/$i; seq 1000 | sed s,^,/srv/$i/, | xargs touch; done",
    ],
    ids=["one file", "a file without a name", "empty files"],
)
def test_whoever_fills_the_disk_is_stopped_long_before_the_time_is_up(script: str) -> None:
    with Machine(debian_image(), disk_mb=100) as machine:
        with pytest.raises(MachineRuined) as caught:
            machine.instance.run(["sh", "-c", script], stop=Stop(120))

        assert caught.value.kind is Kind.DISK_LIMIT_EXCEEDED
        assert "100 MB" in str(caught.value)
        with pytest.raises(MachineRuined):
            machine.instance.run(["true"], stop=Stop(10))


def test_a_host_that_has_less_room_than_a_machine_may_fill_is_not_the_machine_s_fault() -> None:
    with Machine(debian_image()) as machine, closing(docker.APIClient(base_url=HOST)) as client:
        watch = DiskWatch(client, machine.name, limit_mb=1000, free=lambda folder: 0)
        instance = DockerInstance(client, machine.name, name=machine.name, disk=watch)

        with pytest.raises(DiskFull, match="the worker's disk is full") as caught:
            instance.run(["sh", "-c", "head -c 60M /dev/zero >/srv/full; sleep 600"], stop=Stop(120))

        assert caught.value.retryable


def test_a_sparse_file_fills_nothing() -> None:
    with Machine(debian_image(), disk_mb=100) as machine:
        assert machine.instance.run(["sh", "-c", "truncate -s 1T /srv/sparse; sleep 5"], stop=Stop(60)).ok


def test_a_command_ends_when_its_time_is_up_also_where_no_memory_is_left() -> None:
    with Machine(debian_image(), mem_limit="72m", memswap_limit="72m", shm_size="64m") as machine:
        done = machine.instance.run(["sh", "-c", FILLS_MEMORY], stop=Stop(4))

        assert done.stopped is StopReason.DEADLINE
        assert done.seconds < 25


def test_a_machine_that_somebody_killed_is_lost_even_if_memory_ran_out_in_it_before() -> None:
    with Machine(debian_image(), mem_limit="72m", memswap_limit="72m") as machine:
        assert machine.instance.run(["tail", "/dev/zero"], stop=Stop(60)).exit_code == 137
        machine.kill()

        with pytest.raises(InstanceLost):
            machine.instance.run(["true"], stop=Stop(10))
        with pytest.raises(InstanceLost):
            machine.instance.check()
