"""The contract of Instance, run against the fake machine and real ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from alts.core.command import Completed
from alts.core.instance import Instance, MachineRuined
from alts.core.output import OutputSink
from alts.core.stop import Stop, Stopped, StopReason
from alts.shared.errors import InstanceLost
from tests.support.debian_image import debian_image
from tests.support.fakes import Answer, FakeInstance
from tests.support.machine import KeptMachine, Machine

CONTENT = b"the content\n\x00\xff"


@dataclass
class Subject:
    """A machine, and the commands that the contract runs on it."""

    instance: Instance
    says: Callable[[str, int], Sequence[str]]
    """argv that prints the text and exits with the code."""
    takes: Callable[[float], Sequence[str]]
    """argv that runs for the given number of seconds."""
    kill: Callable[[], None]
    file: str
    """Path of a file that contains CONTENT."""


@contextmanager
def a_fake_machine() -> Iterator[Subject]:
    instance = FakeInstance(
        {
            "say": lambda argv: Answer(exit_code=int(argv[2]), output=argv[1]),
            "take": lambda argv: Answer(seconds=float(argv[1])),
        },
        files={"/root/file": CONTENT},
    )
    yield Subject(
        instance,
        says=lambda text, code: ["say", text, str(code)],
        takes=lambda seconds: ["take", str(seconds)],
        kill=instance.kill,
        file="/root/file",
    )


@contextmanager
def a_container(kept: KeptMachine) -> Iterator[Subject]:
    with kept.lent() as machine:
        yield Subject(
            machine.instance,
            says=lambda text, code: ["sh", "-c", 'printf %s "$1"; exit "$2"', "sh", text, str(code)],
            takes=lambda seconds: ["sleep", str(seconds)],
            kill=machine.kill,
            file="/root/file",
        )


@pytest.fixture(scope="module")
def kept() -> Iterator[KeptMachine]:
    with closing(KeptMachine(debian_image(), prepare=with_content)) as kept:
        yield kept


def with_content(machine: Machine) -> None:
    machine.instance.run(["sh", "-c", "printf 'the content\\n\\0\\377' >/root/file"], stop=Stop(10))


class OnlyAsked:
    """A machine of which every command is said to read only, so that its quicker way is taken."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance

    def run(self, argv: Sequence[str], *, stop: Stop, sink: OutputSink | None = None) -> Completed:
        return self._instance.run(argv, stop=stop, sink=sink, repeatable=True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._instance, name)


@pytest.fixture(
    params=[
        "a_fake_machine",
        pytest.param("a_container", marks=pytest.mark.docker),
        pytest.param("a_container_only_asked", marks=pytest.mark.docker),
    ]
)
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    if request.param == "a_fake_machine":
        with a_fake_machine() as subject:
            yield subject
        return
    with a_container(request.getfixturevalue("kept")) as subject:
        if request.param == "a_container_only_asked":
            asked: Any = OnlyAsked(subject.instance)
            subject.instance = asked
        yield subject


def test_output_and_exit_code_are_the_programs_own(subject: Subject) -> None:
    done = subject.instance.run(subject.says("grüße\n", 3), stop=Stop(10))

    assert (done.output, done.exit_code, done.stopped, done.ok) == ("grüße\n", 3, None, False)


def test_output_also_goes_to_the_sink_as_it_comes(subject: Subject) -> None:
    heard: list[str] = []

    subject.instance.run(subject.says("hello\n", 0), stop=Stop(10), sink=heard.append)

    assert "".join(heard) == "hello\n"


def test_what_stands_in_an_argument_is_data(subject: Subject) -> None:
    text = "$(id) `id` \"'; exit 9 #\n-n"

    done = subject.instance.run(subject.says(text, 0), stop=Stop(10))

    assert (done.output, done.exit_code) == (text, 0)


def test_a_deadline_ends_a_command_and_says_so(subject: Subject) -> None:
    started = time.monotonic()

    done = subject.instance.run(subject.takes(60), stop=Stop(0.3))

    assert (done.stopped, done.exit_code, done.ok) == (StopReason.DEADLINE, None, False)
    assert time.monotonic() - started < 5


def test_a_request_from_another_thread_ends_a_command(subject: Subject) -> None:
    stop = Stop(60)
    threading.Timer(0.3, stop.request, [StopReason.CANCELLED]).start()

    done = subject.instance.run(subject.takes(60), stop=stop)

    assert (done.stopped, done.exit_code) == (StopReason.CANCELLED, None)


def test_a_stop_that_came_before_leaves_no_exit_code(subject: Subject) -> None:
    done = subject.instance.run(subject.says("", 0), stop=Stop(0))

    assert (done.stopped, done.exit_code) == (StopReason.DEADLINE, None)


def test_a_machine_goes_on_after_a_command_was_stopped(subject: Subject) -> None:
    subject.instance.run(subject.takes(60), stop=Stop(0.2))

    assert subject.instance.alive()
    assert subject.instance.run(subject.says("again", 0), stop=Stop(10)).output == "again"


def test_a_file_comes_back_byte_for_byte(subject: Subject) -> None:
    assert subject.instance.pull(subject.file, stop=Stop(10), limit=len(CONTENT)) == CONTENT


def test_a_file_that_is_too_long_ruins_the_machine(subject: Subject) -> None:
    with pytest.raises(MachineRuined, match="has grown to more than 10 bytes"):
        subject.instance.pull(subject.file, stop=Stop(10), limit=10)


def test_a_file_is_not_waited_for_where_the_time_is_up(subject: Subject) -> None:
    with pytest.raises(Stopped):
        subject.instance.pull(subject.file, stop=Stop(0), limit=100)


def test_a_file_that_is_not_there_is_said_so(subject: Subject) -> None:
    with pytest.raises(FileNotFoundError):
        subject.instance.pull("/root/no-such-file", stop=Stop(10), limit=100_000)


def test_a_dead_machine_is_lost_whatever_is_asked_of_it(subject: Subject) -> None:
    subject.instance.check()
    subject.kill()

    assert not subject.instance.alive()
    with pytest.raises(InstanceLost):
        subject.instance.check()
    with pytest.raises(InstanceLost):
        subject.instance.run(subject.says("", 0), stop=Stop(10))
    with pytest.raises(InstanceLost):
        subject.instance.pull("/root/no-such-file", stop=Stop(10), limit=100_000)


def test_a_machine_can_be_asked_again_after_its_connections_were_closed(subject: Subject) -> None:
    for _ in range(2):
        assert subject.instance.run(subject.says("here", 0), stop=Stop(10)).output == "here"
        subject.instance.close()
