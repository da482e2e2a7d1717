"""Whether the shipped files can work in their places."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import pytest

from alts.checks.integrity.elf import I386, X86_64, Elf, ElfKind
from alts.checks.integrity.interpreters import interpreter_finding, is_started, loader_finding
from alts.checks.integrity.libraries import LoaderView, library_findings
from alts.checks.integrity.links import link_findings
from alts.checks.integrity.search_path import search_path_findings
from alts.checks.state.snapshot import FileState, Snapshot
from alts.checks.state.tree import Tree
from alts.core.stop import Stop
from alts.package_managers.apt.manager import Apt
from alts.pipeline.context import StageContext
from alts.pipeline.observations import Observations
from alts.pipeline.output_file import OUTPUT_PATH
from alts.pipeline.stage_log import StageLog
from alts.pipeline.stages.integrity import integrity
from alts.shared.errors import StateUnreadable
from alts.shared.models.report import Finding, Kind, Severity
from tests.corpus.elf import elf
from tests.support.builders import a_spec
from tests.support.fakes import Answer, FakeDebian, FakeInstance

FILE = FileState("f", 0o644, 0, 0, 10, 1)
FOLDER = FileState("d", 0o755, 0, 0, 0, 0)
# A 32-bit program that contains only the loader's path (elf(5)).
ELF_32 = (
    b"\x7fELF\x01\x01\x01"
    + bytes(9)
    + struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, 0, 52, 0, 0, 52, 32, 1, 40, 0, 0)
    + struct.pack("<IIIIIIII", 3, 84, 84, 84, 19, 19, 4, 1)
    + b"/lib/ld-linux.so.2\0"
)
LOADER = "/lib64/ld-linux-x86-64.so.2"
LIBRARIES = "/usr/lib/x86_64-linux-gnu"


def link(target: str) -> FileState:
    return FileState("l", 0o777, 0, 0, len(target), 1, target)


def tree(*paths: str, **links: str) -> Tree:
    """Return a merged /usr with these files."""
    files = {"/": FOLDER, "/usr": FOLDER, "/lib": link("usr/lib"), "/lib64": link("usr/lib64"), "/bin": link("usr/bin")}
    files |= {"/srv/open": FileState("d", 0o1777, 0, 0, 0, 0)}
    return Tree(files | dict.fromkeys(paths, FILE) | {path: link(target) for path, target in links.items()})


class TestTree:
    def test_a_path_lies_where_its_folders_lead(self) -> None:
        assert tree("/usr/lib/x/file").place("/lib/x/file") == "/usr/lib/x/file"
        assert tree().place("/lib") == "/lib"

    def test_links_are_followed_to_their_end(self) -> None:
        found = tree("/usr/lib/a", **{"/usr/lib/b": "a", "/usr/lib/c": "/lib/b", "/opt/d": "../lib/../bin/e"})

        assert found.end("/lib/c") == "/usr/lib/a"
        assert found.end("/opt/d") == "/usr/bin/e"
        assert found.exists("/lib/c")
        assert not found.exists("/opt/d")

    def test_paths_and_chains_of_links_may_be_longer_than_python_can_call(self) -> None:
        deep = "/a" * 3000
        folders = {deep[: 2 * depth]: FileState("d", 0o755, 0, 0, 0, 0, "") for depth in range(1, 3001)}
        chain = {f"/l{number}": link(f"/l{number + 1}/x") for number in range(3000)}

        assert Tree(folders).exists(deep)
        assert not Tree(folders).exists(f"{deep}/b")
        assert not Tree(chain).exists("/l0/x")

    def test_a_circle_leads_nowhere(self) -> None:
        found = tree(**{"/opt/a": "b", "/opt/b": "a", "/opt/c": "c/d"})

        assert not found.exists("/opt/a")
        assert not found.exists("/opt/c/x")

    def test_files_are_found_by_name(self) -> None:
        found = tree("/opt/a/x.so", **{"/usr/lib/x.so": "x.so.1", "/usr/lib/x.so.1": "/opt/a/x.so"})

        assert found.named("x.so") == ("/opt/a/x.so",)
        assert found.named("y.so") == ()


def library(
    path: str, elf: Elf, *, there: Mapping[str, ElfKind] | None = None, cached: str | None = None
) -> list[tuple[Severity, str]]:
    """Return the findings about a file on a machine with these libraries."""
    there = there or {}
    machine = LoaderView(
        tree(*there, path), X86_64, {("liba.so.1", X86_64): cached} if cached else {}, {**there, path: X86_64}
    )
    return [(finding.severity, finding.message) for finding in library_findings(path, elf, machine)]


NEEDS = Elf(needed=("liba.so.1",))
PROGRAM = Elf(needed=("liba.so.1",), interpreter=LOADER)
MISSED = "{} needs liba.so.1, which is not installed"


@pytest.mark.parametrize(
    ("path", "elf", "severity"),
    [
        ("/usr/bin/a", PROGRAM, Severity.ERROR),
        ("/usr/lib/a/helper", PROGRAM, Severity.ERROR),
        (f"{LIBRARIES}/libb.so.1", NEEDS, Severity.ERROR),
        # Plugins whose host has the needed libraries, or which need a suggested package only.
        ("/usr/lib/a/plugin.so", NEEDS, Severity.WARNING),
        ("/usr/lib/python3/dist-packages/a/_a.so", NEEDS, Severity.WARNING),
    ],
)
def test_a_library_that_is_nowhere_is_missed(path: str, elf: Elf, severity: Severity) -> None:
    assert library(path, elf) == [(severity, MISSED.format(path))]


@pytest.mark.parametrize(
    "folder", ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib"], ids=["Debian", "Fedora", "anywhere"]
)
def test_the_loader_looks_where_it_was_built_to(folder: str) -> None:
    assert library("/usr/bin/a", PROGRAM, there={f"{folder}/liba.so.1": X86_64}) == []


def test_the_loader_s_cache_leads_anywhere() -> None:
    assert library("/usr/bin/a", PROGRAM, there={"/opt/a/liba.so.1": X86_64}, cached="/opt/a/liba.so.1") == []
    assert library("/usr/bin/a", PROGRAM, cached="/opt/gone/liba.so.1") != []


def test_a_library_of_another_machine_is_none() -> None:
    assert library("/usr/bin/a", PROGRAM, there={"/usr/lib/liba.so.1": I386}) == [
        (Severity.ERROR, MISSED.format("/usr/bin/a"))
    ]


@pytest.mark.parametrize(
    ("elf", "private"),
    [
        (Elf(needed=("liba.so.1",), runpath="$ORIGIN/../lib/a", interpreter=LOADER), "/usr/lib/a"),
        (Elf(needed=("liba.so.1",), rpath="/x:${ORIGIN}/../lib/a", interpreter=LOADER), "/usr/lib/a"),
        (Elf(needed=("liba.so.1",), runpath="/opt/$LIB", interpreter=LOADER), "/opt/lib64"),
    ],
)
def test_a_file_s_own_search_path_leads_to_private_libraries(elf: Elf, private: str) -> None:
    assert library("/usr/bin/a", elf, there={f"{private}/liba.so.1": X86_64}) == []


def test_a_runpath_makes_the_loader_forget_the_rpath() -> None:
    elf = Elf(needed=("liba.so.1",), rpath="/opt/a", runpath="/opt/b", interpreter=LOADER)

    assert library("/usr/bin/a", elf, there={"/opt/a/liba.so.1": X86_64}) != []


@pytest.mark.parametrize(
    ("path", "elf", "found"),
    [
        ("/usr/bin/a", PROGRAM, 1),
        # Programs started by another one that sets LD_LIBRARY_PATH, or loaded by one that already has the library.
        ("/usr/lib/a/bin/a", PROGRAM, 0),
        ("/usr/lib/a/plugin.so", NEEDS, 0),
        (f"{LIBRARIES}/libb.so.1", NEEDS, 0),
    ],
)
def test_a_private_library_serves_private_users(path: str, elf: Elf, found: int) -> None:
    assert len(library(path, elf, there={"/usr/lib/a/liba.so.1": X86_64})) == found


def test_another_c_library_s_programs_are_left_alone() -> None:
    elf = Elf(needed=("libc.so",), interpreter="/lib/ld-musl-x86_64.so.1")

    assert library("/usr/bin/a", elf) == []


@pytest.mark.parametrize(
    ("element", "word"),
    [
        ("", "empty"),
        ("lib", "relative"),
        (".", "relative"),
        ("/tmp/build/lib", "any user"),
        ("/srv/open/lib", "any user"),
        ("$ORIGIN/../../tmp/x", "any user"),
        ("/home/me/lib", "build machine"),
        ("/builddir/build/BUILD/a/.libs", "build machine"),
        ("/usr/src/a/.libs", "build machine"),
    ],
)
def test_a_search_path_that_others_may_fill_is_bad(element: str, word: str) -> None:
    [finding] = search_path_findings("/usr/bin/a", Elf(runpath=f"/usr/lib/a:{element}"), tree())

    assert (finding.kind, finding.severity) == (Kind.BAD_RPATH, Severity.ERROR)
    assert word in finding.message
    assert finding.evidence == f"RUNPATH /usr/lib/a:{element}"


@pytest.mark.parametrize(
    "text", ["", "/usr/lib/a", "$ORIGIN", "${ORIGIN}/../lib:/opt/a/lib", "$ORIGIN/$LIB", "/opt/rh/a/root/usr/lib64"]
)
def test_a_search_path_within_the_package_is_fine(text: str) -> None:
    assert list(search_path_findings("/usr/bin/a", Elf(rpath=text), tree())) == []


@pytest.mark.parametrize(
    ("path", "loader", "found"),
    [
        ("/usr/bin/a", "/lib/ld-musl-x86_64.so.1", 1),
        ("/usr/bin/a", LOADER, 0),
        ("/usr/bin/a", "", 0),
        ("/usr/lib/a/sysroot/bin/a", "/lib/ld-musl-x86_64.so.1", 0),
    ],
    ids=["another C library", "the machine's", "static", "not started just so"],
)
def test_a_program_needs_its_loader(path: str, loader: str, found: int) -> None:
    finding = loader_finding(path, Elf(interpreter=loader), tree("/usr/lib64/ld-linux-x86-64.so.2"))

    assert (finding is not None) == bool(found)
    if finding:
        assert (finding.kind, finding.severity) == (Kind.MISSING_LIBRARY, Severity.ERROR)
        assert finding.message == "/usr/bin/a needs the loader /lib/ld-musl-x86_64.so.1, which is not installed"


@pytest.mark.parametrize(
    ("first", "missing"),
    [
        (b"#!/usr/bin/python2\nprint 1\n", "/usr/bin/python2"),
        (b"#! /bin/python2 -E\n", "/bin/python2"),
        (b"#!/usr/bin/env ruby\n", "ruby"),
        (b"#!/usr/bin/env -S X=1 ruby -w\n", "ruby"),
        (b"#!/usr/bin/env python3\n", ""),
        (b"#!/bin/python3\n", ""),
        (b"#!/usr/bin/python3 -E\n", ""),
        (b"#!\n", ""),
        (b"\x7fELF#!/nowhere\n", ""),
        (b"echo without a first line\n", ""),
        (b"#!/usr/bin/env\n", ""),
    ],
)
def test_a_script_needs_its_interpreter(first: bytes, missing: str) -> None:
    finding = interpreter_finding("/usr/bin/a", first, tree("/usr/bin/python3", "/usr/bin/env"))

    assert (finding.message if finding else "") == (
        f"/usr/bin/a needs the interpreter {missing}, which is not installed" if missing else ""
    )


@pytest.mark.parametrize(
    ("path", "mode", "started"),
    [("/usr/bin/a", 0o755, True), ("/usr/bin/a", 0o644, False), ("/usr/share/doc/a/examples/a", 0o755, False)],
)
def test_only_programs_for_everybody_are_started_just_so(path: str, mode: int, *, started: bool) -> None:
    assert is_started(path, mode) == started


def links(target: str, *paths: str, complete: bool = True) -> list[Finding]:
    found = tree(*paths, **{"/usr/share/a/link": target})
    return list(
        link_findings(
            ["/usr/share/a/link", "/usr/share/a/file"],
            found,
            may_be=lambda path: path.startswith("/proc"),
            own=lambda path: path == "/usr/share/a",
            complete=complete,
        )
    )


def test_a_link_that_leads_nowhere_is_broken() -> None:
    [finding] = links("../nowhere/file")

    assert (finding.kind, finding.severity) == (Kind.BROKEN_SYMLINK, Severity.ERROR)
    assert finding.message == "/usr/share/a/link points to /usr/share/nowhere/file, which does not exist"
    assert finding.evidence == "/usr/share/a/link -> ../nowhere/file"


@pytest.mark.parametrize("target", ["file", "/usr/share/a/file", "/proc/self/mounts"])
def test_a_link_that_leads_somewhere_is_fine(target: str) -> None:
    assert links(target, "/usr/share/a/file") == []


@pytest.mark.parametrize(
    ("target", "complete", "severity"),
    [
        # A suggested package that is not installed may provide it.
        ("/usr/share/other/file", False, Severity.WARNING),
        # Only the package itself puts files into its own folder.
        ("/usr/share/a/gone", False, Severity.ERROR),
        # The first start, or an administrator, may create it.
        ("/etc/a/conf", True, Severity.WARNING),
        ("/usr/local/a", True, Severity.WARNING),
    ],
)
def test_a_link_that_may_wait_for_something_is_a_warning(target: str, *, complete: bool, severity: Severity) -> None:
    [finding] = links(target, complete=complete)

    assert finding.severity is severity


class TestStage:
    """Run the stage on a machine that exists as text only."""

    def run(self, owned: str | bytes, *files: str, verify: str = "", settings: str = "") -> tuple[Finding, ...]:
        debian = FakeDebian()
        debian.paths |= set(files)

        def shell(argv: Sequence[str]) -> Answer:
            if "--listfiles" in argv:
                return Answer(written={OUTPUT_PATH: owned if isinstance(owned, bytes) else owned.encode()})
            return Answer(output=settings) if "dpkg.cfg" in argv[-1] else debian.programs["/bin/sh"](argv)

        programs = {**debian.programs, "/bin/sh": shell}
        debian.overrides["--verify"] = Answer(output=verify)
        context = StageContext(a_spec(), FakeInstance(programs), Apt(), Stop(60), StageLog(), Observations())
        return integrity(context).findings

    def test_what_is_there_as_it_was_shipped_is_fine(self) -> None:
        assert self.run("/.\n/usr/bin/hello\n", "/usr/bin/hello") == ()

    def test_what_has_no_checksum_is_missed_all_the_same(self) -> None:
        [finding] = self.run("/usr/bin/hello\n/usr/share/link\n", "/usr/bin/hello")

        assert (finding.kind, finding.message) == (Kind.MISSING_FILE, "/usr/share/link is missing")

    def test_a_missing_file_is_told_of_once(self) -> None:
        assert len(self.run("/usr/bin/hello\n", verify="missing     /usr/bin/hello\n")) == 1

    def test_documentation_that_the_machine_does_not_want_is_not_missed(self) -> None:
        path = "/usr/share/doc/hello/NEWS.gz"
        settings = "path-exclude=/usr/share/doc/*\npath-include=/usr/share/doc/*/copyright\n"

        assert self.run(f"{path}\n", verify=f"missing     {path}\n", settings=settings) == ()
        assert len(self.run("/usr/share/doc/hello/copyright\n", settings=settings)) == 1

    def of_contents(self, contents: Mapping[str, bytes], *, recommends: str = "") -> tuple[Finding, ...]:
        """Return the findings about /usr/bin of a 64-bit machine without a 32-bit loader."""
        contents = {"/bin/sh": elf(soname="sh"), **contents}
        states = {path: FileState("f", 0o755, 0, 0, len(data), 1) for path, data in contents.items()}

        def shell(argv: Sequence[str]) -> Answer:
            if "--listfiles" in argv:
                return Answer(written={OUTPUT_PATH: "\n".join(contents).encode()})
            if "dpkg.cfg" in argv[-1]:
                return Answer()
            if "cat" in argv:
                read = b"".join(contents[path] for path in argv[argv.index("--") + 1 :])
                return Answer(written={"/.alts-output": read})
            wanted = argv[argv.index("/.alts-output") + 1 :]
            paths, size = [path for path in wanted[4:] if path in contents], int(wanted[4])
            heads = [f"==> {path} <==\n".encode() + contents[path][:size] for path in paths]
            return Answer(written={"/.alts-output": b"\n".join(heads)})

        def query(argv: Sequence[str]) -> Answer:
            assert "--show" in argv
            return Answer(output=recommends)

        programs = {**FakeDebian().programs, "dpkg-query": query, "/bin/sh": shell}
        seen = Observations(snapshots={"installed": Snapshot(files=states)})
        context = StageContext(a_spec(), FakeInstance(programs), Apt(), Stop(60), StageLog(), seen)
        return integrity(context).findings

    def test_a_program_of_another_machine_needs_a_loader_too(self) -> None:
        assert [finding.message for finding in self.of_contents({"/usr/bin/a": ELF_32})] == [
            "/usr/bin/a needs the loader /lib/ld-linux.so.2, which is not installed"
        ]
        assert self.of_contents({"/usr/bin/a": ELF_32, "/lib/ld-linux.so.2": b"x" * 60}) == ()

    @pytest.mark.parametrize(
        ("recommends", "severity"), [("", Severity.ERROR), ("python2\n", Severity.WARNING)], ids=["no", "may yet come"]
    )
    def test_an_interpreter_that_may_yet_come_is_a_warning(self, recommends: str, severity: Severity) -> None:
        [finding] = self.of_contents({"/usr/bin/a": b"#!/usr/bin/python2\n"}, recommends=recommends)

        assert (finding.kind, finding.severity) == (Kind.MISSING_FILE, severity)

    @pytest.mark.parametrize("question", ["--listfiles", "dpkg.cfg"])
    def test_half_an_answer_is_none(self, question: str) -> None:
        debian = FakeDebian()
        debian.installed["hello"] = "2.10-3"
        right = debian.programs["/bin/sh"]

        def half(argv: Sequence[str]) -> Answer:
            if question in " ".join(argv):
                return Answer(2, "/usr/bin/hello\n", written={OUTPUT_PATH: b"/usr/bin/hello\n"})
            return Answer(written={OUTPUT_PATH: b"/usr/bin/hello\n"}) if "--listfiles" in argv else right(argv)

        instance = FakeInstance({**debian.programs, "/bin/sh": half})
        with pytest.raises(StateUnreadable):
            integrity(StageContext(a_spec(), instance, Apt(), Stop(60), StageLog(), Observations()))

    @pytest.mark.parametrize(
        ("shipped", "seen"),
        [
            (b"/srv/latin-\xe9\n", r"/srv/latin-\xe9"),
            ("/srv/line\u2028separator\n".encode(), "/srv/line\u2028separator"),
            (b"/srv/vertical\x0btab\n", "/srv/vertical\x0btab"),
            ("/srv/next\x85line\n".encode(), "/srv/next\x85line"),
            (b"/srv/ blanks \n", "/srv/ blanks "),
        ],
    )
    def test_a_name_may_have_anything_in_it(self, shipped: bytes, seen: str) -> None:
        assert self.run(shipped, seen) == ()
        assert [finding.evidence for finding in self.run(shipped)] == [seen]

    def test_an_empty_package_is_fine(self) -> None:
        assert self.run("") == ()


def test_a_snapshot_that_the_installation_took_is_used_again() -> None:
    debian = FakeDebian()
    debian.installed["hello"] = "2.10-3"
    instance = FakeInstance(debian.programs)
    seen = Observations(snapshots={"installed": Snapshot(files={"/usr/bin/hello": FILE})})

    integrity(StageContext(a_spec(), instance, Apt(), Stop(60), StageLog(), seen))

    assert not any("/.alts-snapshot" in argv for argv in instance.commands)
