"""The shell that stays open in a container, and what happens when a package gets at it."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Sequence

import pytest

from alts.core.command import Completed
from alts.core.stop import Stop, StopReason
from tests.support.machine import Machine, eventually

pytestmark = pytest.mark.docker


def ask(machine: Machine, *argv: str, stop: Stop | None = None, env: dict[str, str] | None = None) -> Completed:
    return machine.instance.run(argv, stop=stop or Stop(20), env=env, repeatable=True)


def in_a_script(machine: Machine, script: str, *arguments: str) -> str:
    """Run a script as a package's would run: with an exec of its own."""
    done = machine.instance.run(["sh", "-c", script, "sh", *arguments], stop=Stop(20))
    assert done.ok, done.output
    return done.output


def parent_of(machine: Machine) -> str:
    return ask(machine, "sh", "-c", "echo $PPID").output.strip()


def test_all_commands_run_in_one_shell(machine: Machine) -> None:
    first, second = parent_of(machine), parent_of(machine)

    assert first == second != "0"


def test_an_environment_is_that_of_one_command_alone(machine: Machine) -> None:
    assert ask(machine, "sh", "-c", 'echo "$WORD"', env={"WORD": "a 'b' $c"}).output == "a 'b' $c\n"
    assert ask(machine, "sh", "-c", 'echo "${WORD-none}"').output == "none\n"


def test_standard_input_is_empty(machine: Machine) -> None:
    assert ask(machine, "cat").output == ""


def test_standard_error_is_in_the_output_at_its_place(machine: Machine) -> None:
    assert ask(machine, "sh", "-c", "echo a; echo b >&2; echo c").output == "a\nb\nc\n"


@pytest.mark.parametrize("size", [100, 40_000, 200_000])
def test_arguments_may_be_long(machine: Machine, size: int) -> None:
    words = ["x" * 100] * (size // 100)

    assert ask(machine, "sh", "-c", 'echo "$#"', "sh", *words).output == f"{len(words)}\n"


def test_a_program_that_is_missing_is_told_as_by_an_exec(machine: Machine) -> None:
    asked = ask(machine, "/no/such/program")
    executed = machine.instance.run(["/no/such/program"], stop=Stop(10))

    assert (asked.exit_code, asked.output) == (executed.exit_code, executed.output)


def test_what_others_write_to_the_shells_output_is_in_no_answer(machine: Machine) -> None:
    shell = parent_of(machine)

    in_a_script(machine, 'echo forged >"/proc/$1/fd/1"; printf %s half >"/proc/$1/fd/1"', shell)

    assert ask(machine, "echo", "true").output == "true\n"
    assert parent_of(machine) == shell


@pytest.mark.parametrize("signal", ["KILL", "TERM"])
def test_a_shell_that_was_killed_is_replaced(machine: Machine, signal: str) -> None:
    shell = parent_of(machine)

    in_a_script(machine, 'kill -s "$2" "$1"', shell, signal)

    assert ask(machine, "echo", "again").output == "again\n"
    assert parent_of(machine) != shell


def test_a_shell_that_is_killed_during_a_command_costs_no_answer(machine: Machine) -> None:
    shell = parent_of(machine)
    killer = threading.Timer(0.5, in_a_script, [machine, 'kill -KILL "$1"', shell])
    killer.start()

    assert ask(machine, "sh", "-c", "sleep 1; echo done").output == "done\n"
    killer.join()


def test_a_shell_that_was_stopped_costs_seconds_and_no_answer(machine: Machine) -> None:
    in_a_script(machine, 'kill -STOP "$1"', parent_of(machine))

    started = time.monotonic()
    assert ask(machine, "echo", "again").output == "again\n"
    assert time.monotonic() - started < 15


def test_all_processes_killed_cost_no_answer(machine: Machine) -> None:
    parent_of(machine)
    machine.instance.run(["sh", "-c", "kill -KILL -1"], stop=Stop(10))

    assert ask(machine, "echo", "again").output == "again\n"


def test_what_a_command_leaves_running_holds_up_neither_it_nor_the_next(machine: Machine) -> None:
    started = time.monotonic()
    assert ask(machine, "sh", "-c", "sleep 30 & echo begun").output == "begun\n"
    assert ask(machine, "echo", "next").output == "next\n"

    assert time.monotonic() - started < 10
    in_a_script(
        machine,
        """grep -lx 30 -az /proc/[0-9]*/cmdline | while IFS=/ read -r _ _ pid _; do kill "$pid" || true; done""",
    )


def test_a_deadline_leaves_nothing_running(machine: Machine) -> None:
    done = ask(machine, "sh", "-c", "setsid sleep 30", stop=Stop(0.5))

    assert (done.stopped, done.exit_code) == (StopReason.DEADLINE, None)
    assert eventually(lambda: not any("sleep 30" in line for line in machine.processes()))
    assert ask(machine, "echo", "next").output == "next\n"


def test_two_threads_may_ask_at_once(machine: Machine) -> None:
    answers: dict[str, str] = {}

    def ask_for(word: str) -> None:
        answers[word] = ask(machine, "sh", "-c", 'sleep 0.3; echo "$1"', "sh", word).output

    threads = [threading.Thread(target=ask_for, args=[word]) for word in ("one", "two", "three")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == {word: f"{word}\n" for word in ("one", "two", "three")}


def test_a_file_of_bytes_comes_through_it_whole(machine: Machine) -> None:
    made: Sequence[str] = ("sh", "-c", "head -c 3000000 /dev/urandom >/run/bytes; sha256sum </run/bytes")
    expected = machine.instance.run(made, stop=Stop(20)).output.split()[0]

    content = machine.instance.pull("/run/bytes", stop=Stop(20), limit=3_000_000)
    in_a_script(machine, "rm /run/bytes")

    assert hashlib.sha256(content).hexdigest() == expected


@pytest.mark.parametrize("path", ["/dev/zero", "/run/pipe", "/etc"])
def test_what_is_not_a_file_is_not_read(machine: Machine, path: str) -> None:
    in_a_script(machine, "mkfifo /run/pipe")
    try:
        with pytest.raises(FileNotFoundError):
            machine.instance.pull(path, stop=Stop(20), limit=1000)
    finally:
        in_a_script(machine, "rm /run/pipe")
