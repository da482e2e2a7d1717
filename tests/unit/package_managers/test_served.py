"""Data that repositories served to a failed refresh, recorded on Debian 11, 12 and 13 and with dnf 4.14."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from alts.core.command import Completed
from alts.core.stop import Stop
from alts.package_managers import served
from alts.package_managers.apt.manager import Apt
from alts.package_managers.dnf.manager import Dnf
from alts.package_managers.dnf.yum import Yum
from alts.package_managers.served import Served
from alts.pipeline.context import StageContext
from alts.pipeline.observations import Observations
from alts.pipeline.stage_log import StageLog
from alts.pipeline.stages.prepare import prepare
from alts.shared.models.report import Kind
from alts.shared.models.task_spec import TaskSpec
from tests.support.builders import a_spec
from tests.support.fakes import Answer, FakeInstance

PAGE = b"<!DOCTYPE html><html><head><title>Login</title></head></html>\n"
RELEASE = b"Suite: x\nDate: Fri, 20 Nov 2026 00:00:00 UTC\nSHA256:\n"
SIGNED = b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nOrigin: x\n"

URL = "http://repository.example/debs"
LIST = "repository.example_debs_._"
FLAT = a_spec(repositories=[{"url": f"{URL}/", "trusted": True}])
SUITE = a_spec(repositories=[{"url": f"{URL} x~1 main"}])
NOT_SIGNED = (
    f"E: Failed to fetch {URL}/./InRelease  Clearsigned file isn't valid, got 'NOSPLIT' (does the network require "
    f"authentication?)\nE: The repository '{URL} ./ InRelease' is not signed.\n"
)
NO_DATA = (
    f"E: GPG error: {URL} ./ Release: Signed file isn't valid, got 'NODATA' (does the network require "
    "authentication?)\n"
)
ENDLESS = (
    f"E: Failed to fetch {URL}/./InRelease  File has unexpected size (10027008 != 10000000). Mirror sync in progress?\n"
    f"E: The repository '{URL} ./ InRelease' is not signed.\n"
)
WRONG_SIZE = (
    f"E: Failed to fetch {URL}/./Packages.gz  File has unexpected size (88 != 154). Mirror sync in progress?\n"
    "   Hashes of expected file:\n"
)

BASE = "http://repository.example/el9"
RPM = a_spec(dist_name="almalinux", dist_version="9", package_name="bad", repositories=[{"url": BASE, "trusted": True}])
PRIMARY = "repodata/6540-primary.xml.gz"
WRONG_CHECKSUM = (
    "Errors during downloading metadata for repository 'alts-1':\n"
    "  - Downloading successful, but checksum doesn't match. Calculated: 1(sha256)  Expected: 2(sha256) \n"
    f"Error: Failed to download metadata for repo 'alts-1': Yum repo downloading error: Downloading error(s): "
    f"{PRIMARY} - Cannot download, all mirrors were already tried without success\n"
)


def done(output: str, exit_code: int = 100) -> Completed:
    return Completed(argv=("apt-get",), exit_code=exit_code, output=output, seconds=0.1)


def line(name: str, content: bytes, *, size: int | None = None) -> str:
    return f"alts-served {name} {len(content) if size is None else size} {content[:512].hex()}\n"


NO_METADATA = {
    "page": (FLAT, NOT_SIGNED, line(f"{LIST}InRelease.FAILED", PAGE), "its InRelease is an HTML page"),
    "page-though-trusted": (
        FLAT,
        NO_DATA,
        line(f"{LIST}InRelease.FAILED", PAGE) + line(f"{LIST}Release", PAGE),
        "its InRelease is an HTML page",
    ),
    "page-of-debian-13": (
        FLAT,
        NO_DATA.replace("GPG error", "OpenPGP signature verification failed"),
        line(f"{LIST}Release", PAGE),
        "its Release is an HTML page",
    ),
    "page-in-place-of-a-suite": (
        SUITE,
        NOT_SIGNED.replace("/./", "/dists/x~1/").replace(" ./ ", " x~1 "),
        line("repository.example_debs_dists_x%7e1_InRelease.FAILED", PAGE),
        "its InRelease is an HTML page",
    ),
    "nothing": (FLAT, NOT_SIGNED, line(f"{LIST}InRelease.FAILED", b""), "its InRelease is empty"),
    "noise": (
        FLAT,
        NOT_SIGNED,
        line(f"{LIST}InRelease.FAILED", b"\x00\xff" * 300),
        "its InRelease has unknown content",
    ),
    "endless": (
        FLAT,
        ENDLESS,
        line(f"{LIST}InRelease.FAILED", b"x" * 600, size=10_027_008),
        "its InRelease is larger than 10 MB",
    ),
    # The middle of apt's output may be missing if the output is too long.
    "endless-and-cut": (
        FLAT,
        ENDLESS.partition("\n")[2],
        line(f"{LIST}InRelease.FAILED", SIGNED, size=476_315_648),
        "its InRelease is larger than 10 MB",
    ),
    "page-in-place-of-an-index": (
        FLAT,
        WRONG_SIZE,
        line(f"{LIST}Release", RELEASE) + line(f"{URL}/./Packages.gz", PAGE),
        "its Packages.gz is an HTML page",
    ),
}


@pytest.mark.parametrize(("spec", "said", "shown", "fault"), NO_METADATA.values(), ids=NO_METADATA)
def test_what_is_no_metadata_is_not_the_package_s_fault(spec: TaskSpec, said: str, shown: str, fault: str) -> None:
    [finding] = Apt().served(spec, done(said)).read(shown)

    assert finding.kind is Kind.REPOSITORY_UNREACHABLE
    assert finding.message == f"the repository {URL} does not serve package metadata: {fault}"


METADATA = {
    "unsigned": (NOT_SIGNED, line(f"{LIST}InRelease.FAILED", RELEASE)),
    "signed-by-another-key": (NO_DATA, line(f"{LIST}InRelease.FAILED", SIGNED)),
    # Many servers answer with a page if the file does not exist.
    "page-beside-an-unsigned-one": (
        NO_DATA,
        line(f"{LIST}InRelease.FAILED", PAGE) + line(f"{LIST}Release", RELEASE),
    ),
    "page-of-another-repository": (NO_DATA, line("other.example_._InRelease", PAGE)),
    "wrong-hash": (WRONG_SIZE, line(f"{URL}/./Packages.gz", b"\x1f\x8b\x08")),
    "nothing-to-see": (NO_DATA, ""),
}


@pytest.mark.parametrize(("said", "shown"), METADATA.values(), ids=METADATA)
def test_metadata_with_a_fault_stays_what_it_is(said: str, shown: str) -> None:
    assert Apt().served(FLAT, done(said)).read(shown) == Apt().refresh(FLAT).judge(done(said))


def prepared(refresh: Answer, shown: str) -> tuple[list[Kind], int]:
    """Return the kinds of the stage's findings, and the number of shells that it ran, including the refresh's."""
    shells = iter((refresh, Answer(output=shown)))
    instance = FakeInstance({"/bin/sh": lambda argv: next(shells)})
    answer = prepare(StageContext(FLAT, instance, Apt(), Stop(60), StageLog(), Observations()))
    return [finding.kind for finding in answer.findings], sum(argv[0] == "/bin/sh" for argv in instance.commands)


def test_what_was_served_is_only_looked_at_after_a_failure() -> None:
    assert prepared(Answer(), "") == ([], 1)
    assert prepared(Answer(100, NO_DATA), "") == ([Kind.SIGNATURE_INVALID], 2)
    assert prepared(Answer(100, NO_DATA), line(f"{LIST}Release", PAGE)) == ([Kind.REPOSITORY_UNREACHABLE], 2)


def test_another_repository_s_fault_is_still_told() -> None:
    spec = a_spec(repositories=[{"url": f"{URL}/"}, {"url": "http://other.example/"}])
    said = NOT_SIGNED + "E: The repository 'http://other.example ./ Release' is not signed.\n"

    findings = Apt().served(spec, done(said)).read(line(f"{LIST}InRelease.FAILED", PAGE))

    assert [finding.kind for finding in findings] == [Kind.REPOSITORY_UNREACHABLE, Kind.SIGNATURE_INVALID]


def test_only_the_task_s_own_indexes_are_fetched_again() -> None:
    said = WRONG_SIZE + WRONG_SIZE.replace(URL, "http://deb.debian.org/debian")

    query = Apt().served(FLAT, done(said))

    assert list(query.argv)[4:] == [f"{URL}/./Packages.gz"]


def test_dnf_s_index_that_is_a_page_is_not_the_package_s_fault() -> None:
    shown = line(f"{BASE}/{PRIMARY}", PAGE)

    query = Dnf().served(RPM, done(WRONG_CHECKSUM, 1))
    assert query is not None

    [finding] = query.read(shown)

    assert finding.kind is Kind.REPOSITORY_UNREACHABLE
    assert finding.message.endswith("does not serve package metadata: its 6540-primary.xml.gz is an HTML page")


@pytest.mark.parametrize("content", [b"\x1f\x8b\x08\x00", b""])
def test_dnf_s_index_of_a_wrong_checksum_stays_one(content: bytes) -> None:
    query = Dnf().served(RPM, done(WRONG_CHECKSUM, 1))
    assert query is not None

    [finding] = query.read(line(f"{BASE}/{PRIMARY}", content))

    assert finding.kind is Kind.CHECKSUM_MISMATCH


def test_dnf_s_index_is_looked_at_once_more_and_only_then() -> None:
    query = Dnf().served(RPM, done(WRONG_CHECKSUM, 1))

    assert query is not None
    assert list(query.argv)[4:] == [f"{BASE}/{PRIMARY}"]
    assert Dnf().served(RPM, done(WRONG_CHECKSUM.replace("alts-1", "baseos"), 1)) is None


@pytest.mark.parametrize(
    ("why", "message"),
    [
        (
            "repomd.xml parser error: Element <repomd> was not found - Bad repomd file",
            "does not serve package metadata",
        ),
        (
            "repomd.xml parser error: Parse error at line: 1 (Extra content at the end",
            "does not serve package metadata",
        ),
        ("Curl error (23): Failed writing received data to disk/application", "serves more than the machine can store"),
    ],
)
def test_dnf_s_repository_without_metadata_is_said_to_have_none(why: str, message: str) -> None:
    [finding] = Dnf().refresh(RPM).judge(done(f"Error: Failed to download metadata for repo 'alts-1': {why}\n", 1))

    assert finding.kind is Kind.REPOSITORY_UNREACHABLE
    assert message in finding.message


@pytest.mark.parametrize("packages", [Apt(), Dnf(), Yum()])
def test_no_file_of_a_refresh_may_grow_without_end(packages: Apt | Dnf) -> None:
    argv = packages.refresh(FLAT).argv

    limit = subprocess.run([*argv[:4], "sh", "-c", "ulimit -f"], check=True, capture_output=True, text=True).stdout
    assert int(limit) == 2_097_152


def test_what_is_shown_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(PAGE * 20)
    script = f"{served.SHOW}\nshow the-name '{tmp_path}/file'\nshow absent '{tmp_path}/absent'"

    shown = subprocess.run(["sh", "-c", script], check=True, capture_output=True, text=True).stdout

    assert served.read(f"noise\n{shown}") == (Served("the-name", len(PAGE) * 20, (PAGE * 20)[:512]),)
