"""Whether what was shipped can work where it lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from alts.integrity.elf import I386, X86_64, Elf, Kind
from alts.integrity.libraries import Machine, library_findings
from alts.integrity.links import link_findings
from alts.integrity.search_path import search_path_findings
from alts.packages.apt import Apt
from alts.shared.report import Finding, Severity
from alts.shared.report import Kind as FindingKind
from alts.snapshots.snapshot import FileState, Snapshot
from alts.snapshots.tree import Tree
from alts.stages.base import Observations, StageContext, StageLog
from alts.stages.integrity import integrity
from alts.stages.whole_output import OUTPUT_PATH
from alts.stop import Stop
from tests.builders import a_spec
from tests.fakes import Answer, FakeDebian, FakeInstance

FILE = FileState("f", 0o644, 0, 0, 10, 1)
FOLDER = FileState("d", 0o755, 0, 0, 0, 0)
LOADER = "/lib64/ld-linux-x86-64.so.2"
LIBRARIES = "/usr/lib/x86_64-linux-gnu"


def link(target: str) -> FileState:
    return FileState("l", 0o777, 0, 0, len(target), 1, target)


def tree(*paths: str, **links: str) -> Tree:
    """Of a merged /usr with these files."""
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

    def test_a_circle_leads_nowhere(self) -> None:
        found = tree(**{"/opt/a": "b", "/opt/b": "a", "/opt/c": "c/d"})

        assert not found.exists("/opt/a")
        assert not found.exists("/opt/c/x")

    def test_files_are_found_by_name(self) -> None:
        found = tree("/opt/a/x.so", **{"/usr/lib/x.so": "x.so.1", "/usr/lib/x.so.1": "/opt/a/x.so"})

        assert found.named("x.so") == ("/opt/a/x.so",)
        assert found.named("y.so") == ()


def library(
    path: str, elf: Elf, *, there: Mapping[str, Kind] | None = None, cached: str | None = None
) -> list[tuple[Severity, str]]:
    """What is found of a file, on a machine with these libraries."""
    there = there or {}
    machine = Machine(
        tree(*there, path), X86_64, {("liba.so.1", X86_64): cached} if cached else {}, {**there, path: X86_64}
    )
    return [(finding.severity, finding.message) for finding in library_findings(path, elf, machine)]


NEEDS = Elf(needed=("liba.so.1",))
PROGRAM = Elf(needed=("liba.so.1",), interpreter=LOADER)
MISSED = "{} needs liba.so.1, which this machine does not have"


@pytest.mark.parametrize(
    ("path", "elf", "severity"),
    [
        ("/usr/bin/a", PROGRAM, Severity.ERROR),
        ("/usr/lib/a/helper", PROGRAM, Severity.ERROR),
        (f"{LIBRARIES}/libb.so.1", NEEDS, Severity.ERROR),
        # Plugins whose host has what they need, or whose need is only suggested.
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
        # Started by one that sets LD_LIBRARY_PATH, or loaded by one that has loaded the library before.
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
        ("/tmp/build/lib", "anybody"),
        ("/srv/open/lib", "anybody"),
        ("$ORIGIN/../../tmp/x", "anybody"),
        ("/home/me/lib", "built on"),
        ("/builddir/build/BUILD/a/.libs", "built on"),
        ("/usr/src/a/.libs", "built on"),
    ],
)
def test_a_search_path_that_others_may_fill_is_bad(element: str, word: str) -> None:
    [finding] = search_path_findings("/usr/bin/a", Elf(runpath=f"/usr/lib/a:{element}"), tree())

    assert (finding.kind, finding.severity) == (FindingKind.BAD_RPATH, Severity.ERROR)
    assert word in finding.message
    assert finding.evidence == f"RUNPATH /usr/lib/a:{element}"


@pytest.mark.parametrize("text", ["", "/usr/lib/a", "$ORIGIN", "${ORIGIN}/../lib:/opt/a/lib", "$ORIGIN/$LIB"])
def test_a_search_path_within_the_package_is_fine(text: str) -> None:
    assert list(search_path_findings("/usr/bin/a", Elf(rpath=text), tree())) == []


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

    assert (finding.kind, finding.severity) == (FindingKind.BROKEN_SYMLINK, Severity.ERROR)
    assert finding.message == "/usr/share/a/link leads to /usr/share/nowhere/file, which is not there"
    assert finding.evidence == "/usr/share/a/link -> ../nowhere/file"


@pytest.mark.parametrize("target", ["file", "/usr/share/a/file", "/proc/self/mounts"])
def test_a_link_that_leads_somewhere_is_fine(target: str) -> None:
    assert links(target, "/usr/share/a/file") == []


@pytest.mark.parametrize(
    ("target", "complete", "severity"),
    [
        # What is suggested, but not installed, may bring it.
        ("/usr/share/other/file", False, Severity.WARNING),
        # Nobody else will put anything into the package's own folder.
        ("/usr/share/a/gone", False, Severity.ERROR),
        # The first start, or an administrator, may bring it.
        ("/etc/a/conf", True, Severity.WARNING),
        ("/usr/local/a", True, Severity.WARNING),
    ],
)
def test_a_link_that_may_wait_for_something_is_a_warning(target: str, *, complete: bool, severity: Severity) -> None:
    [finding] = links(target, complete=complete)

    assert finding.severity is severity


class TestStage:
    """The stage, on a machine that is only told of."""

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

        assert (finding.kind, finding.message) == (FindingKind.MISSING_FILE, "/usr/share/link is missing")

    def test_a_missing_file_is_told_of_once(self) -> None:
        assert len(self.run("/usr/bin/hello\n", verify="missing     /usr/bin/hello\n")) == 1

    def test_documentation_that_the_machine_does_not_want_is_not_missed(self) -> None:
        path = "/usr/share/doc/hello/NEWS.gz"
        settings = "path-exclude=/usr/share/doc/*\npath-include=/usr/share/doc/*/copyright\n"

        assert self.run(f"{path}\n", verify=f"missing     {path}\n", settings=settings) == ()
        assert len(self.run("/usr/share/doc/hello/copyright\n", settings=settings)) == 1

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
    instance = FakeInstance(debian.programs)
    seen = Observations(snapshots={"installed": Snapshot(files={"/usr/bin/hello": FILE})})

    integrity(StageContext(a_spec(), instance, Apt(), Stop(60), StageLog(), seen))

    assert not any("/.alts-snapshot" in argv for argv in instance.commands)
