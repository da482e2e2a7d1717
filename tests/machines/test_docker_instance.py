"""Commands in a real container: killed with all their children, within their limits, and with complete output."""

from __future__ import annotations

import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from alts.core.instance import MachineRuined
from alts.core.stop import Stop, Stopped, StopReason
from alts.shared.errors import InstanceLost
from tests.support.debian_image import debian_image
from tests.support.engine_proxy import EngineProxy
from tests.support.machine import Machine, eventually

pytestmark = pytest.mark.docker


@pytest.mark.parametrize(
    "script",
    [
        "sleep 300",
        "sleep 301 & sleep 302",
        # Like dpkg under apt: a child in its own session.
        "setsid -w sleep 303",
        "setsid -f sleep 304; sleep 305",
        "(setsid sh -c 'sleep 306 & sleep 307' &); sleep 308",
        "env -i sleep 309",
        "trap '' INT TERM HUP; sleep 310; sleep 311",
        "sleep 312 >/dev/null 2>&1 & exec yes",
        "exec >/dev/null 2>&1; sleep 313",
    ],
)
def test_what_is_stopped_leaves_no_process_in_the_machine(machine: Machine, script: str) -> None:
    done = machine.instance.run(["sh", "-c", script], stop=Stop(0.5))

    assert done.stopped is StopReason.DEADLINE
    assert done.seconds < 5
    assert machine.processes() == []


@pytest.mark.parametrize("seconds", [0.001, 0.01, 0.03, 0.06])
def test_a_command_that_is_only_just_starting_is_killed_too(machine: Machine, seconds: float) -> None:
    done = machine.instance.run(["sleep", "300"], stop=Stop(seconds))

    assert done.stopped is StopReason.DEADLINE
    time.sleep(0.3)
    assert machine.processes() == []


def test_the_kill_spares_what_earlier_commands_have_left_running(machine: Machine) -> None:
    machine.instance.run(["sh", "-c", "sleep 400 >/dev/null 2>&1 &"], stop=Stop(10))

    machine.instance.run(["sleep", "401"], stop=Stop(0.3))

    assert machine.processes() == ["sleep 400 "]


def test_a_silent_child_in_the_background_is_not_waited_for(machine: Machine) -> None:
    done = machine.instance.run(["sh", "-c", "echo said; sleep 30 & exit 3"], stop=Stop(60))

    assert (done.output, done.exit_code, done.stopped) == ("said\n", 3, None)
    assert done.seconds < 5


def test_a_chatty_child_in_the_background_is_not_waited_for(machine: Machine) -> None:
    done = machine.instance.run(["sh", "-c", "(while sleep 0.1; do echo x; done) & exit 3"], stop=Stop(60))

    assert (done.exit_code, done.stopped) == (3, None)
    assert done.seconds < 15


def test_a_command_may_close_its_output_and_go_on(machine: Machine) -> None:
    done = machine.instance.run(["sh", "-c", "exec >&- 2>&-; sleep 1; exit 5"], stop=Stop(20))

    assert done.exit_code == 5
    assert done.seconds >= 1


def test_there_is_nothing_on_standard_input(machine: Machine) -> None:
    assert machine.instance.run(["cat"], stop=Stop(10)).output == ""


@pytest.mark.parametrize(("program", "code"), [("no-such-program", 127), ("/etc/passwd", 126)])
def test_a_program_that_cannot_be_started_has_the_shells_exit_code(machine: Machine, program: str, code: int) -> None:
    done = machine.instance.run([program], stop=Stop(10))

    assert done.exit_code == code
    assert program in done.output


def test_the_environment_arrives_as_it_is(machine: Machine) -> None:
    value = "$HOME `id` ä\nnew line = 'x'"

    done = machine.instance.run(["sh", "-c", 'printf %s "$ODD"'], stop=Stop(10), env={"ODD": value})

    assert done.output == value


def test_both_outputs_are_kept_to_the_last_byte_with_many_commands_at_once(machine: Machine) -> None:
    script = "seq 20000; seq 5000 >&2; echo end"

    def lines() -> int:
        return len(machine.instance.run(["sh", "-c", script], stop=Stop(60)).output.splitlines())

    with ThreadPoolExecutor(8) as pool:
        counts = [future.result() for future in [pool.submit(lines) for _ in range(32)]]

    assert counts == [25_001] * 32


def test_a_short_command_takes_no_time_to_speak_of(machine: Machine) -> None:
    seconds = sorted(machine.instance.run(["true"], stop=Stop(10)).seconds for _ in range(9))

    # It takes 0.04 s on an idle machine. The limit allows for concurrent tests.
    assert seconds[4] < 0.5


def test_no_connection_is_left_open(machine: Machine) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    machine.instance.run(["true"], stop=Stop(10))
    gc.collect()
    gc.disable()
    try:
        before = descriptors()
        for _ in range(10):
            machine.instance.run(["true"], stop=Stop(10))
        machine.instance.run(["sleep", "9"], stop=Stop(0.1))
        assert descriptors() <= before + 1
    finally:
        gc.enable()


def test_a_machine_that_dies_in_mid_run_is_lost(machine: Machine) -> None:
    threading.Timer(0.5, machine.kill).start()

    with pytest.raises(InstanceLost):
        machine.instance.run(["sleep", "60"], stop=Stop(60))


def test_a_machine_that_is_removed_in_mid_run_is_lost() -> None:
    with Machine(debian_image()) as machine:
        threading.Timer(0.5, machine.remove).start()

        with pytest.raises(InstanceLost):
            machine.instance.run(["sleep", "60"], stop=Stop(60))

        assert not machine.instance.alive()


def test_a_program_that_kills_itself_does_not_make_the_machine_lost(machine: Machine) -> None:
    done = machine.instance.run(["sh", "-c", "kill -KILL $$"], stop=Stop(10))

    assert done.exit_code == 137
    assert machine.instance.alive()


def test_an_engine_that_goes_away_loses_the_machine() -> None:
    with EngineProxy() as proxy, Machine(debian_image(), docker_host=proxy.docker_host) as machine:
        machine.instance.run(["true"], stop=Stop(10))
        proxy.swallow_answer(b"/exec")

        with pytest.raises(InstanceLost):
            machine.instance.run(["true"], stop=Stop(10))


def test_a_file_is_found_behind_symbolic_links(machine: Machine) -> None:
    machine.instance.run(["sh", "-c", "cd /root; echo x >a; ln -s a b; ln -s /root/b c"], stop=Stop(10))

    assert machine.instance.pull("/root/c", stop=Stop(10), limit=100_000) == b"x\n"
    assert machine.instance.pull("/etc/os-release", stop=Stop(10), limit=100_000).startswith(b"PRETTY_NAME")


@pytest.mark.parametrize("path", ["/etc", "/root/loop", "/dev/null", "/no/such/folder/file"])
def test_what_is_no_file_is_not_found(machine: Machine, path: str) -> None:
    machine.instance.run(["ln", "-s", "loop", "/root/loop"], stop=Stop(10))

    with pytest.raises(FileNotFoundError):
        machine.instance.pull(path, stop=Stop(10), limit=100_000)


def test_of_a_file_that_has_grown_without_end_no_more_is_fetched_than_allowed(machine: Machine) -> None:
    machine.instance.run(["truncate", "-s", "1T", "/root/sparse"], stop=Stop(10))
    started = time.monotonic()

    with pytest.raises(MachineRuined, match="/root/sparse has grown to more than 100000 bytes"):
        machine.instance.pull("/root/sparse", stop=Stop(60), limit=100_000)
    # Reading the whole file at half a gigabyte per second would take half an hour.
    assert time.monotonic() - started < 30


def test_a_file_that_takes_long_is_given_up_when_asked_to(machine: Machine) -> None:
    machine.instance.run(["truncate", "-s", "1T", "/root/sparse"], stop=Stop(10))
    stop = Stop(600)
    threading.Timer(0.1, stop.request, [StopReason.CANCELLED]).start()

    with pytest.raises(Stopped):
        machine.instance.pull("/root/sparse", stop=stop, limit=1 << 50)


def test_a_stopped_command_keeps_the_output_it_had(machine: Machine) -> None:
    done = machine.instance.run(["sh", "-c", "echo before; exec sleep 60"], stop=Stop(1))

    assert done.output == "before\n"
    assert eventually(lambda: machine.processes() == [])


def test_a_flood_of_output_is_slowed_down(machine: Machine) -> None:
    counted = 0

    def count(text: str) -> None:
        nonlocal counted
        counted += len(text)

    done = machine.instance.run(["yes", "x" * 60], stop=Stop(6), sink=count)

    assert done.stopped is StopReason.DEADLINE
    # As fast as it comes, it would be some hundred million characters a second.
    assert 32 << 20 < counted < (32 + 6 * 8 + 8) << 20
    assert eventually(lambda: machine.processes() == [])
