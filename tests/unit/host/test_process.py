"""Programs on the worker end in time, leave nothing behind, and never block their caller."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from alts.core.output import HEAD_LIMIT, TAIL_LIMIT
from alts.core.stop import Stop, StopReason
from alts.host.process import kill_by_variable, run_process
from alts.shared.errors import InfrastructureError
from tests.support.processes import ended

ENV = {"PATH": os.environ["PATH"]}


def test_a_program_that_ends_gives_its_output_and_exit_code() -> None:
    done = run_process(["sh", "-c", "echo out; echo err >&2; exit 3"], stop=Stop(10), env=ENV)

    assert (done.exit_code, done.stopped) == (3, None)
    assert done.output == "out\nerr\n"
    assert done.seconds < 5


def test_the_environment_is_what_was_handed_in_and_no_more(tmp_path: Path) -> None:
    done = run_process(["env"], stop=Stop(10), env={"PATH": os.environ["PATH"], "A": "1"}, cwd=tmp_path)

    assert {line.split("=")[0] for line in done.output.splitlines()} <= {"PATH", "A", "PWD"}
    assert "A=1" in done.output


def test_it_runs_in_the_folder_it_was_given(tmp_path: Path) -> None:
    assert run_process(["pwd", "-P"], stop=Stop(10), env=ENV, cwd=tmp_path).output.strip() == str(tmp_path.resolve())


def test_nothing_can_be_asked_on_standard_input() -> None:
    assert run_process(["cat"], stop=Stop(10), env=ENV).ok


def test_the_sink_hears_the_output_while_it_comes(tmp_path: Path) -> None:
    heard: list[str] = []

    def sink(text: str) -> None:
        heard.append(text)
        (tmp_path / "heard").touch()

    run_process(
        ["sh", "-c", "echo one; until [ -e heard ]; do sleep 0.1; done; echo two"],
        stop=Stop(30),
        env=ENV,
        cwd=tmp_path,
        sink=sink,
    )

    assert heard == ["one\n", "two\n"]


def test_a_grandchild_that_holds_the_output_open_is_not_waited_for_and_does_not_stay() -> None:
    started = time.monotonic()

    done = run_process(["sh", "-c", "sleep 60 & echo $!"], stop=Stop(30), env=ENV)

    assert time.monotonic() - started < 2
    assert done.ok
    assert ended(int(done.output))


def test_what_was_written_just_before_the_end_is_not_lost_with_the_pipe_held_open() -> None:
    done = run_process(["sh", "-c", "sleep 60 & yes line | head -c 50000"], stop=Stop(30), env=ENV)

    assert len(done.output) == 50_000


def test_a_deadline_kills_the_program_with_all_that_it_started() -> None:
    heard: list[str] = []
    started = time.monotonic()

    done = run_process(["sh", "-c", "sleep 60 & echo $!; wait"], stop=Stop(0.4), env=ENV, sink=heard.append)

    assert (done.exit_code, done.stopped) == (None, StopReason.DEADLINE)
    assert not done.ok
    assert 0.35 < time.monotonic() - started < 2
    assert ended(int("".join(heard)))


def test_a_cancel_from_another_thread_ends_a_program_that_ignores_signals() -> None:
    stop = Stop(60)
    timer = threading.Timer(0.3, stop.request, [StopReason.CANCELLED])
    timer.start()
    started = time.monotonic()

    done = run_process(["sh", "-c", "trap '' INT TERM; while :; do sleep 0.1; done"], stop=stop, env=ENV)

    assert done.stopped is StopReason.CANCELLED
    assert time.monotonic() - started < 2
    timer.join()


def test_a_program_may_end_by_itself_within_the_grace() -> None:
    done = run_process(
        [sys.executable, "-c", "import time\ntry: time.sleep(60)\nexcept KeyboardInterrupt: print('put away')"],
        stop=Stop(1.0),
        env=ENV,
        interrupt_grace=10,
    )

    assert done.stopped is StopReason.DEADLINE
    assert done.exit_code is None
    assert "put away" in done.output
    assert done.seconds < 5


def test_a_program_that_does_not_use_the_grace_is_killed() -> None:
    done = run_process(
        ["sh", "-c", "trap '' INT; while :; do sleep 0.1; done"], stop=Stop(0.3), env=ENV, interrupt_grace=0.5
    )

    assert done.stopped is StopReason.DEADLINE
    assert 0.7 < done.seconds < 3


def test_a_stop_that_has_come_before_the_start_starts_nothing(tmp_path: Path) -> None:
    done = run_process(["touch", str(tmp_path / "started")], stop=Stop(0), env=ENV)

    assert done.stopped is StopReason.DEADLINE
    assert not (tmp_path / "started").exists()


def test_an_endless_output_neither_fills_the_memory_nor_delays_the_stop() -> None:
    done = run_process(["yes"], stop=Stop(1.0), env=ENV)

    assert done.stopped is StopReason.DEADLINE
    assert done.seconds < 3
    assert "characters left out" in done.output
    assert len(done.output) < HEAD_LIMIT + TAIL_LIMIT + 100


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert run_process(["printf", r"a\377b\303\244c"], stop=Stop(10), env=ENV).output == "a\ufffdb\u00e4c"


def test_a_program_that_closes_its_output_is_still_waited_for() -> None:
    done = run_process(["sh", "-c", "exec >&- 2>&-; sleep 0.3; exit 5"], stop=Stop(10), env=ENV)

    assert done.exit_code == 5
    assert done.seconds >= 0.3


def test_a_program_killed_by_somebody_else_was_not_stopped_by_us() -> None:
    done = run_process(["sh", "-c", "kill -9 $$"], stop=Stop(10), env=ENV)

    assert (done.exit_code, done.stopped) == (-signal.SIGKILL, None)


def test_a_sink_that_fails_leaves_no_program_behind() -> None:
    pids: list[int] = []

    def sink(text: str) -> None:
        pids.append(int(text))
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run_process(["sh", "-c", "echo $$; sleep 60"], stop=Stop(10), env=ENV, sink=sink)

    assert ended(pids[0])


def test_a_missing_program_is_named_and_not_worth_another_attempt() -> None:
    with pytest.raises(InfrastructureError, match="no-such-program") as caught:
        run_process(["no-such-program", "-x"], stop=Stop(10), env=ENV)

    assert not caught.value.retryable


def test_a_missing_folder_is_what_is_blamed_for_it(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match="gone"):
        run_process(["true"], stop=Stop(10), env=ENV, cwd=tmp_path / "gone")


def test_no_process_and_no_open_file_is_left_after_many_runs() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))

    for _ in range(20):
        run_process(["true"], stop=Stop(10), env=ENV)

    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.slow
def test_a_process_is_found_in_the_middle_of_starting_another_program(tmp_path: Path) -> None:
    restless = tmp_path / "restless"
    restless.write_text(f"#!/bin/sh\nexec {restless}\n")
    restless.chmod(0o755)

    for _ in range(150):
        with subprocess.Popen([restless], env=ENV | {"MARK": str(tmp_path)}) as process:
            found = kill_by_variable("MARK", str(tmp_path))
            process.kill()
            assert found == 1


def test_processes_are_found_by_what_they_were_started_with_in_whatever_session_they_are(tmp_path: Path) -> None:
    mark = str(tmp_path)
    marked = subprocess.Popen(["setsid", "sleep", "60"], env=ENV | {"MARK": mark})
    other = subprocess.Popen(["sleep", "60"], env=ENV | {"MARK": f"{mark}-other"})

    assert kill_by_variable("MARK", mark) == 1
    assert kill_by_variable("MARK", mark) == 0

    assert marked.wait(5) == -signal.SIGKILL
    assert other.poll() is None
    other.kill()
    other.wait()
