"""Real output of dnf 4.14 and rpm 4.18, and its meaning. The words of dnf5 and yum are from their sources."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from alts.core.command import Completed
from alts.package_managers.base import Candidate, IndexedFile, InstalledPackage
from alts.package_managers.dnf.identity import find_source_argv
from alts.package_managers.dnf.manager import Dnf, Dnf5
from alts.package_managers.dnf.sources import read_repositories, repository_file
from alts.package_managers.dnf.yum import Yum
from alts.shared.models.report import Finding, Kind, Severity
from alts.shared.models.repository import Repository
from alts.shared.models.task_spec import TaskSpec
from tests.support.builders import a_spec

DNF = Dnf()
CANDIDATE = Candidate("1.0-1", "")
BAD = InstalledPackage("bad", "1.0-1", "noarch")
BROUGHT = "http://repository.example/el9"
SPEC = a_spec(
    dist_name="almalinux",
    dist_version="9",
    package_name="bad",
    repositories=[{"url": BROUGHT, "trusted": True}, {"url": "http://other.example/", "priority": 10}],
)
REPOSITORIES = """\
[alts-1]
name=alts-1
baseurl=http://repository.example/el9
[alts-2]
baseurl=http://other.example/
priority=10
# The distribution's own.
[baseos]
name=Base
mirrorlist=https://mirrors.example/baseos
enabled=1
"""
FROM_TASK = " bad            noarch           1.0-1            alts-1          6.1 k\n"
FROM_DISTRIBUTION = " bad            noarch           1.0-1            baseos          6.1 k\n"


def named(package: str) -> TaskSpec:
    return SPEC.model_copy(update={"package_name": package})


def done(output: str, exit_code: int = 1) -> Completed:
    return Completed(argv=("dnf",), exit_code=exit_code, output=output, seconds=0.1)


def kinds(findings: tuple[Finding, ...]) -> list[Kind]:
    return [finding.kind for finding in findings]


BAD_CHECKSUM = (
    "[MIRROR] bad-1.0-1.noarch.rpm: Downloading successful, but checksum doesn't match. Calculated: 1  Expected: 2\n"
    "[FAILED] bad-1.0-1.noarch.rpm: No more mirrors to try - All mirrors were already tried without success\n"
    "Error: Error downloading packages:\n"
    "  bad-1.0-1.noarch: Cannot download, all mirrors were already tried without success\n"
)
NOT_FOUND = (
    "[MIRROR] bad-1.0-1.noarch.rpm: Status code: 404 for http://repository.example/el9/bad.rpm (IP: 192.0.2.7)\n"
    "Error: Error downloading packages:\n"
    "  bad-1.0-1.noarch: Cannot download, all mirrors were already tried without success\n"
)
NOT_SIGNED = "Package bad-1.0-1.noarch.rpm is not signed\nError: GPG check FAILED\n"
OTHER_KEY = (
    'The GPG keys listed for the "alts-1" repository are already installed but they are not correct for this package.\n'
    "Check that the correct key URLs are configured for this repository.. Failing package is: bad-1.0-1.noarch\n"
    "Error: GPG check FAILED\n"
)
NO_KEY = "Problem repository: [alts-1]\nbandwidth: 0\nusername: \n"
DAMAGED = (
    "Error: Transaction test error:\n"
    "  package bad-1.0-1.noarch does not verify: Payload SHA256 ALT digest: BAD (Expected a756 != b769)\n"
)

INSTALL_OUTPUTS = {
    "no-such-package": ("No match for argument: bad\nError: Unable to find a match: bad\n", [Kind.PACKAGE_NOT_FOUND]),
    "file-conflict": (
        "Error: Transaction test error:\n"
        "  file /usr/bin/x from install of bad-1.0-1.noarch conflicts with file from package coreutils-9.1-1.x86_64\n",
        [Kind.FILE_CONFLICT],
    ),
    "failing-pre": (
        "it goes wrong\nerror: %prein(bad-1.0-1.noarch) scriptlet failed, exit status 3\n\n"
        "Error in PREIN scriptlet in rpm package bad\nError: Transaction failed\n",
        [Kind.SCRIPTLET_FAILED],
    ),
    "bad-checksum-in-the-task-s-repository": (FROM_TASK + BAD_CHECKSUM, [Kind.CHECKSUM_MISMATCH]),
    "bad-checksum-in-the-distribution-s": (FROM_DISTRIBUTION + BAD_CHECKSUM, [Kind.REPOSITORY_UNREACHABLE]),
    "long-names-take-two-lines": (
        " bad\n                noarch           1.0-1            alts-1          6.1 k\n" + BAD_CHECKSUM,
        [Kind.CHECKSUM_MISMATCH],
    ),
    "file-away": (FROM_TASK + NOT_FOUND, [Kind.REPOSITORY_UNREACHABLE]),
    "not-signed": (FROM_TASK + NOT_SIGNED, [Kind.SIGNATURE_INVALID]),
    "not-signed-by-the-distribution": (FROM_DISTRIBUTION + NOT_SIGNED, [Kind.REPOSITORY_UNREACHABLE]),
    "signed-by-another-key": (FROM_TASK + OTHER_KEY, [Kind.SIGNATURE_INVALID]),
    "no-key-at-all": (FROM_TASK + NO_KEY, [Kind.SIGNATURE_INVALID]),
    "dnf5-not-signed": (
        " bad   noarch 0:1.0-1 alts-1   6.1 KiB\n"
        "Transaction failed: Signature verification failed.\n"
        'OpenPGP check for package "bad-1.0-1.noarch" (/var/cache/libdnf5/x.rpm) from repo "alts-1" has failed: '
        "The package is not signed.\n",
        [Kind.SIGNATURE_INVALID],
    ),
    "damaged": (FROM_TASK + DAMAGED, [Kind.CHECKSUM_MISMATCH]),
    "damaged-in-the-distribution-s": (FROM_DISTRIBUTION + DAMAGED, [Kind.REPOSITORY_UNREACHABLE]),
    "disk-full": (
        "Error: Transaction test error:\n  installing package bad-1.0-1 needs 10MB more space on the / filesystem\n",
        [Kind.DISK_FULL],
    ),
    "anything-else": ("Error: something new\n", [Kind.INSTALL_FAILED]),
}


@pytest.mark.parametrize(
    "lie",
    [
        "Error: Failed to download metadata for repo 'debian': Status code: 503 for http://mirror.example/repomd.xml",
        "cp: error writing '/dev/shm/x': No space left on device",
        "package bad-1.0-1.noarch does not verify: Payload SHA256 digest: BAD",
        "Package bad-1.0-1.noarch.rpm is not signed",
        "Failed to retrieve GPG key for repo 'debian'",
    ],
)
def test_a_script_that_speaks_like_dnf_is_not_believed(lie: str) -> None:
    output = (
        f"Downloading Packages:\nRunning transaction test\nTransaction test succeeded.\nRunning transaction\n{lie}\n"
        "error: %prein(bad-1.0-1.noarch) scriptlet failed, exit status 1\n\n"
        "Error in PREIN scriptlet in rpm package bad\nError: Transaction failed\n"
    )

    assert kinds(DNF.install(a_spec(), CANDIDATE).judge(done(output))) == [Kind.SCRIPTLET_FAILED]


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("cp: error writing '/dev/shm/x': No space left on device\n", ""),
        (
            "error: unpacking of archive failed on file /usr/x;65: cpio: write failed - No space left on device\n",
            "error: unpacking of archive failed on file /usr/x;65: cpio: write failed - No space left on device",
        ),
    ],
    ids=["a script", "rpm"],
)
def test_while_rpm_works_only_rpm_is_believed_that_the_disk_was_full(output: str, line: str) -> None:
    whole = f"Running transaction\n{output}Error: Transaction failed\n"

    assert DNF.disk_full_line(whole) == line
    assert DNF.disk_full_line(output) == output.strip()
    assert kinds(DNF.install(SPEC, CANDIDATE).judge(done(whole))) == [Kind.INSTALL_FAILED]


@pytest.mark.parametrize(("output", "expected"), INSTALL_OUTPUTS.values(), ids=INSTALL_OUTPUTS)
def test_a_failed_installation_says_why(output: str, expected: list[Kind]) -> None:
    assert kinds(DNF.install(SPEC, CANDIDATE).judge(done(output))) == expected


FETCHED = (
    "Downloading Packages:\n(1/1): big-1.0-1.noarch.rpm       5.7 MB/s | 5.0 GB     {0}    \n"
    "Total                             5.7 MB/s | 5.0 GB     {0}     \nRunning transaction\n  Installing : big-1\n"
    "Total 1 MB/s | 1 GB 99:00\n"
)


@pytest.mark.parametrize(
    ("output", "kind"),
    [
        ("Total download size: 7 k\nDownloading Packages:\nRunning transaction\n  Installing : bad-1\n", Kind.TIMEOUT),
        ("Downloading Packages:\nRunning transaction check\nRunning transaction test\n", Kind.REPOSITORY_UNREACHABLE),
        ("Last metadata expiration check: 0:00:01 ago\n", Kind.INTERNAL),
        (FETCHED.format("07:20"), Kind.TIMEOUT),
        (FETCHED.format("14:50"), Kind.REPOSITORY_UNREACHABLE),
    ],
    ids=["a script", "a mirror", "before both", "a script after a while", "a mirror until just now"],
)
def test_what_hangs_is_told_by_how_far_dnf_has_come(output: str, kind: Kind) -> None:
    assert DNF.hangs_at(output, seconds=900) is kind


def test_an_installation_that_went_well_has_no_findings() -> None:
    assert DNF.install(SPEC, CANDIDATE).judge(done("Installed:\n  bad-1.0-1.noarch\nComplete!\n", 0)) == ()


@pytest.mark.parametrize("how", ["exit status 4", "signal 9"])
def test_a_failed_post_is_found_although_dnf_calls_it_complete(how: str) -> None:
    output = (
        f"warning: %post(bad-one-1:1.0-1.noarch) scriptlet failed, {how}\n\n"
        "Error in POSTIN scriptlet in rpm package bad-one\nComplete!\n"
    )

    [finding] = DNF.install(SPEC, CANDIDATE).judge(done(output, 0))

    assert finding.kind is Kind.SCRIPTLET_FAILED
    assert finding.message == f"bad-one: its %post script failed, {how}"


@pytest.mark.parametrize(
    ("output", "absent"),
    [
        ("package bad is not installed\n", True),
        ("error: cannot open Packages database in /var/lib/rpm\npackage x is gone\n", False),
    ],
)
def test_a_database_that_cannot_be_read_does_not_say_that_a_package_is_not_installed(
    output: str, *, absent: bool
) -> None:
    assert DNF.says_absent(done(output)) == absent


FAILED_SCRIPTS = {
    "lua": (
        'error: lua script failed: [string "%post(bad-1.0-1.noarch)"]:1: no\n'
        "Error in POSTIN scriptlet in rpm package bad\n",
        ["bad: its %post script failed in line 1: no"],
    ),
    "lua that makes no sense": (
        "error: invalid syntax in lua scriptlet: [string \"%pretrans(bad-1.0-1.noarch)\"]:2: '=' expected near 'x'\n",
        ["bad: its %pretrans script failed in line 2: '=' expected near 'x'"],
    ),
    "a sort that dnf does not know": (
        "warning: %filetriggerin(bad-1.0-1.noarch) scriptlet failed, exit status 3\n"
        "Error in <unknown> scriptlet in rpm package bad\n",
        ["bad: its %filetriggerin script failed, exit status 3"],
    ),
    "only dnf says it": ("Error in POSTIN scriptlet in rpm package bad\n", ["bad: its %post script failed"]),
    "only yum says it": ("Non-fatal POSTUN scriptlet failure in rpm package bad\n", ["bad: its %postun script failed"]),
    "only dnf5 says it": (
        ">>> Non-critical error in post-install scriptlet: bad-0:1.0-1.noarch\n",
        ["bad: its %post script failed"],
    ),
    "a word of it": ("echo Error in POSTIN scriptlet in rpm package bad, they say\n", []),
}


@pytest.mark.parametrize(("output", "messages"), FAILED_SCRIPTS.values(), ids=FAILED_SCRIPTS)
def test_a_failed_script_is_found_whoever_tells_of_it(output: str, messages: list[str]) -> None:
    findings = DNF.install(SPEC, CANDIDATE).judge(done(f"Running transaction\n{output}Complete!\n", 0))

    assert [finding.message for finding in findings] == messages


def test_a_package_that_finds_itself_wanting_has_failed() -> None:
    output = "no\nerror: %verify(bad-1.0-1.noarch) scriptlet failed, exit status 3\n"

    [finding] = DNF.verify(SPEC).judge(done(output))

    assert (finding.kind, finding.severity) == (Kind.SCRIPTLET_FAILED, Severity.ERROR)
    assert finding.message == "bad: its %verifyscript script failed, exit status 3"


@pytest.mark.parametrize(("script", "exit_code"), [("preun", 1), ("postun", 0)])
def test_a_failed_script_of_a_removal_is_found(script: str, exit_code: int) -> None:
    output = f"error: %{script}(bad-1.0-1.noarch) scriptlet failed, exit status 5\n"

    [finding] = DNF.remove(SPEC).judge(done(output, exit_code))

    assert (finding.kind, f"%{script}" in finding.message) == (Kind.SCRIPTLET_FAILED, True)


REFRESH_OUTPUTS = {
    "away": (
        "Errors during downloading metadata for repository 'alts-1':\n"
        "  - Status code: 404 for http://repository.example/el9/repodata/repomd.xml (IP: 192.0.2.7)\n"
        "Error: Failed to download metadata for repo 'alts-1': Cannot download repomd.xml: Cannot download "
        "repodata/repomd.xml: All mirrors were tried\n",
        Kind.REPOSITORY_UNREACHABLE,
        "Status code: 404 for http://repository.example/el9/repodata/repomd.xml",
    ),
    "index-is-not-what-it-promises": (
        "  - Downloading successful, but checksum doesn't match. Calculated: 1 Expected: 2\n"
        "Error: Failed to download metadata for repo 'alts-1': Yum repo downloading error\n",
        Kind.CHECKSUM_MISMATCH,
        "Downloading successful, but checksum doesn't match. Calculated: 1 Expected: 2",
    ),
    "distribution-s-own-index": (
        "  - Downloading successful, but checksum doesn't match. Calculated: 1 Expected: 2\n"
        "Error: Failed to download metadata for repo 'baseos': Yum repo downloading error\n",
        Kind.REPOSITORY_UNREACHABLE,
        "Downloading successful, but checksum doesn't match. Calculated: 1 Expected: 2",
    ),
    "signature": (
        "Error: Failed to download metadata for repo 'alts-1': repomd.xml GPG signature verification error: Bad\n",
        Kind.SIGNATURE_INVALID,
        "repomd.xml GPG signature verification error: Bad",
    ),
    "yum": (
        "failure: repodata/repomd.xml from alts-1: [Errno 256] No more mirrors to try.\n",
        Kind.REPOSITORY_UNREACHABLE,
        "[Errno 256] No more mirrors to try.",
    ),
    "anything-else": ("Error: something new\n", Kind.REPOSITORY_UNREACHABLE, "Error: something new"),
}


@pytest.mark.parametrize(("output", "kind", "evidence"), REFRESH_OUTPUTS.values(), ids=REFRESH_OUTPUTS)
def test_a_repository_that_cannot_be_read_is_named(output: str, kind: Kind, evidence: str) -> None:
    [finding] = DNF.refresh(SPEC).judge(done(output))

    assert (finding.kind, finding.evidence) == (kind, evidence)


def test_the_repository_with_the_best_priority_comes_first_then_the_newest_version() -> None:
    output = (
        "bad|0|9.0|1|x86_64|baseos||\nbad|0|2.0|1|noarch|alts-2||\nbad|1|1.0|1|noarch|alts-1||\n"
        "bad|0|9.0|1|x86_64|alts-1||\n\n"
    )

    assert [(one.version, one.origin) for one in DNF.candidates(SPEC).read(output + REPOSITORIES)] == [
        ("2.0-1", "alts-2 http://other.example/"),
        ("1:1.0-1", "alts-1 http://repository.example/el9"),
        ("9.0-1", "alts-1 http://repository.example/el9"),
    ]


def test_the_distribution_s_newer_version_comes_before_the_task_s_older_one() -> None:
    output = "bad|0|1.0|1|noarch|alts-1||\nbad|0|9.0|1|x86_64|baseos||\n\n" + REPOSITORIES

    assert [candidate.version for candidate in DNF.candidates(SPEC).read(output)] == ["9.0-1", "1.0-1"]


def test_a_package_is_not_taken_for_another_one_s_version() -> None:
    output = "foo|0|1|1|noarch|baseos||\nfoo-1|0|7|1|noarch|baseos||\n\n" + REPOSITORIES

    assert [one.version for one in DNF.candidates(named("foo-1")).read(output)] == ["7-1"]
    assert DNF.candidates(named("foo.noarch")).read(output) == ()


def test_yum_does_not_take_a_package_for_another_one_s_version() -> None:
    output = "Available Packages\nfoo.noarch   1-1   base\nfoo-1.noarch   7-1   base\n"

    assert [one.version for one in Yum().candidates(named("foo-1")).read(output)] == ["7-1"]
    assert Yum().candidates(named("foo.noarch")).read(output) == ()


@pytest.mark.parametrize("manager", [DNF, Yum()], ids=["dnf", "yum"])
def test_names_are_removed_and_no_versions_of_others(manager: Dnf) -> None:
    spec = named("foo-1")

    for argv in (manager.remove(spec).argv, manager.remove_others(["foo-1"]).argv):
        assert "remove-n" in argv
    # These have their architecture in their names.
    assert "remove" in manager.remove_others(["glibc.i686", "zlib"]).argv


def test_only_the_refresh_asks_the_mirrors_what_there_is() -> None:
    assert "--refresh" in DNF.refresh(SPEC).argv
    assert "--cacheonly" in DNF.candidates(SPEC).argv


def test_what_nobody_has_is_no_candidate() -> None:
    assert DNF.candidates(SPEC).read(f"\n{REPOSITORIES}") == ()


@pytest.mark.parametrize(
    ("version", "word"),
    [("2.0-1", "bad-0:2.0-1"), ("1:2.0-1", "bad-1:2.0-1"), ("1.0~rc1^git2-1", "bad-0:1.0~rc1^git2-1")],
)
def test_exactly_the_candidate_is_installed(version: str, word: str) -> None:
    assert DNF.install(SPEC, Candidate(version, "")).argv[-1] == word


def test_what_was_installed_is_proved_by_its_file_and_the_index() -> None:
    digest = hashlib.sha256(b"a package").digest()
    path = "/var/cache/dnf/alts-1-6ac4b05681dea328/packages/bad-2.0-1.noarch.rpm"
    source = (
        f"{'0' * 64}  /var/cache/dnf/baseos-1/packages/bad-2.0-1.noarch.rpm\n{digest.hex()}  {path}\nbad|alts-1\n\n"
    )
    listed = (
        "bad|1|2.0|1|noarch|baseos|(2, b'x')|other.rpm\n"
        f"bad|1|2.0|1|noarch|alts-1|(2, {digest!r})|p/bad-2.0-1.noarch.rpm\n\n"
    )
    [candidate] = DNF.candidates(SPEC).read(listed + REPOSITORIES)

    identity = DNF.identity(InstalledPackage("bad", "1:2.0-1", "noarch"), candidate).read([source + REPOSITORIES])

    assert (identity.name, identity.version, identity.architecture) == ("bad", "1:2.0-1", "noarch")
    assert identity.repository == "alts-1 http://repository.example/el9"
    assert identity.file == "p/bad-2.0-1.noarch.rpm"
    assert identity.sha256 == identity.promised_sha256 == digest.hex()


def test_a_promise_for_another_version_or_repository_proves_nothing() -> None:
    file = IndexedFile("noarch", "alts-1", "0" * 64, "p/bad-1.0-1.noarch.rpm")
    source = f"bad|alts-1\n\n{REPOSITORIES}"

    def promised(version: str, **changes: str) -> str:
        candidate = Candidate(version, "", (replace(file, **changes),))
        return DNF.identity(BAD, candidate).read([source]).promised_sha256

    assert promised("1.0-1") == "0" * 64
    assert promised("2.0-1") == promised("1.0-1", repository="alts-2") == promised("1.0-1", architecture="x86_64") == ""


def test_a_proof_that_is_not_there_is_empty() -> None:
    identity = DNF.identity(BAD, CANDIDATE).read([""])

    assert (identity.repository, identity.file, identity.sha256, identity.promised_sha256) == ("", "", "", "")


@pytest.mark.parametrize(
    ("output", "repository"),
    [
        (f"{'0' * 64}  /var/cache/dnf/alts-1-6ac4b05681dea328/packages/bad-1.0-1.noarch.rpm\n", "alts-1"),
        (f"{'0' * 64}  /var/cache/libdnf5/my-own-6ac4b05681dea328/packages/bad-1.0-1.noarch.rpm\n", "my-own"),
        (f"{'0' * 64}  /usr/share/rpm-standin/repo/bad-1.0-1.noarch.rpm\nbad|base\n", "base"),
        ("bad|@base\n", "base"),
    ],
    ids=["cache of dnf", "cache of dnf5", "repository on the machine", "no file"],
)
def test_the_repository_is_that_of_the_downloaded_file_or_what_dnf_says(output: str, repository: str) -> None:
    assert DNF.identity(BAD, CANDIDATE).read([output]).repository == repository


@pytest.mark.parametrize(
    ("paths", "asked"),
    [
        (["/var/cache/dnf/alts-1-6ac4b05681dea328/packages/bad-1.0-1.noarch.rpm"], False),
        (["/usr/share/rpm-standin/repo/bad-1.0-1.noarch.rpm"], True),
        (["/var/cache/dnf/bad-1.0-1.noarch.rpm"], True),
        (
            [
                "/var/cache/dnf/a-6ac4b05681dea328/packages/bad.rpm",
                "/var/cache/dnf/b-6ac4b05681dea328/packages/bad.rpm",
            ],
            True,
        ),
        ([], True),
    ],
    ids=["in the cache of one repository", "on the machine", "elsewhere", "in two caches", "nowhere"],
)
def test_dnf_is_asked_for_the_repository_only_where_no_cache_tells_it(
    tmp_path: Path, paths: list[str], *, asked: bool
) -> None:
    (tmp_path / "find").write_text("#!/bin/sh\n" + "".join(f"echo '{'0' * 64}  {path}'\n" for path in paths))
    (tmp_path / "find").chmod(0o755)
    argv = (*find_source_argv(BAD), "echo", "asked")

    done = subprocess.run(argv, capture_output=True, text=True, check=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"})

    assert ("asked" in done.stdout.splitlines()) is asked
    assert [line.split()[-1] for line in done.stdout.splitlines() if "/" in line] == paths


def test_yum_proves_by_its_list_and_its_cache_and_knows_no_promise() -> None:
    path = "/var/cache/yum/x86_64/7/base/packages/bad-1.0-1.noarch.rpm"

    identity = Yum().identity(BAD, CANDIDATE).read(["bad.noarch    1.0-1    @base\n", f"{'0' * 64}  {path}\n"])

    assert (identity.repository, identity.file) == ("base", "bad-1.0-1.noarch.rpm")
    assert (identity.sha256, identity.promised_sha256) == ("0" * 64, "")


def test_changed_and_missing_files_are_found_configuration_only_warned_of_and_ghosts_left_alone() -> None:
    output = (
        "S.5....T.  c /etc/bad.conf\n.......T.    /usr/share/bad/touched\n..5....T.    /usr/share/bad/a b\n"
        "missing     /usr/share/bad/gone\n.M.......  g /var/lib/bad/state\n"
    )

    findings = DNF.verify(SPEC).judge(done(output))

    assert [(finding.kind, finding.severity) for finding in findings] == [
        (Kind.MODIFIED_FILE, Severity.WARNING),
        (Kind.MODIFIED_FILE, Severity.ERROR),
        (Kind.MISSING_FILE, Severity.ERROR),
    ]
    assert findings[1].message == "/usr/share/bad/a b differs from the file in the package: content"


def test_only_another_time_of_a_file_is_no_finding() -> None:
    assert DNF.verify(SPEC).judge(done(".......T.    /usr/share/bad/touched\n")) == ()


def test_what_rpm_cannot_check_is_our_fault() -> None:
    assert kinds(DNF.verify(SPEC).judge(done("error: rpmdb damaged\n"))) == [Kind.INTERNAL]


def test_a_foreign_architecture_is_part_of_a_package_s_name_and_a_key_is_no_package() -> None:
    output = (
        "glibc|(none)|2.34|1|x86_64\nglibc|(none)|2.34|1|i686\ntzdata|(none)|2024|1|noarch\nbash|(none)|5|1|x86_64\n"
        "kernel-core|(none)|6|2|x86_64\nkernel-core|(none)|6|1|x86_64\ngpg-pubkey|(none)|38efd447|65|(none)\n"
    )

    assert DNF.installed_packages().read(output) == {
        "bash": "5-1",
        "glibc": "2.34-1",
        "glibc.i686": "2.34-1",
        "kernel-core": "6-1, 6-2",
        "tzdata": "2024-1",
    }


def test_a_ghost_and_what_the_machine_leaves_out_and_what_may_go_are_not_shipped_files() -> None:
    output = "c|0|/etc/a\n|0|/usr/bin/a|b\ng|0|/var/lib/a\nd|2|/usr/share/doc/a\ncm|0|/etc/b\n"

    assert DNF.owned_files(SPEC).read(output) == ("/etc/a", "/usr/bin/a|b")


@pytest.mark.parametrize(
    "output",
    [
        "Error: \n Problem: The operation would result in removing the following protected packages: dnf\n",
        'Error: Trying to remove "yum", which is protected\n',
    ],
)
def test_a_package_that_the_system_cannot_do_without_is_said_to_be_one(output: str) -> None:
    assert "protected" in DNF.removal_refused(SPEC, done(output))
    assert DNF.removal_refused(SPEC, done(f"Running transaction\n{output}")) == ""
    assert DNF.removal_refused(SPEC, done(output, 0)) == ""


def test_any_other_failure_is_no_refusal() -> None:
    assert DNF.removal_refused(SPEC, done("Remove  1 Package\nError: Transaction failed\n")) == ""


def test_a_repository_is_verified_unless_it_is_trusted() -> None:
    key = "https://repository.example/key.asc"
    signed = repository_file(1, Repository(url=BROUGHT, gpg_key=key, priority=10))
    trusted = repository_file(2, Repository(url=BROUGHT, trusted=True, name="mine"))
    bare = repository_file(3, Repository(url=BROUGHT))

    assert "gpgcheck=1\n" in signed
    assert f"gpgkey={key}\n" in signed
    assert "priority=10\n" in signed
    assert "gpgcheck=0\n" in trusted
    assert "name=mine\n" in trusted
    assert "gpgcheck=1\n" in bare


def test_an_armored_key_becomes_a_file() -> None:
    armored = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQENBFeb0tkBCADF\n=rPK1\n-----END PGP PUBLIC KEY BLOCK-----\n"
    spec = a_spec(dist_name="almalinux", dist_version="9", repositories=[{"url": BROUGHT, "gpg_key": armored}])

    files = {file.path: file.content for file in DNF.files(spec.platform, spec.repositories)}

    assert files["/etc/pki/rpm-gpg/alts-1.asc"] == armored
    assert "gpgkey=file:///etc/pki/rpm-gpg/alts-1.asc\n" in files["/etc/yum.repos.d/alts-1.repo"]


@pytest.mark.parametrize("version", ["7", "8"])
def test_a_centos_whose_mirrors_are_gone_is_read_from_the_vault_and_verified(version: str) -> None:
    spec = a_spec(dist_name="centos", dist_version=version)

    for file in DNF.files(spec.platform, spec.repositories):
        [repository] = list(read_repositories(file.content).values())[:1]
        assert repository.url.startswith("http://vault.centos.org/")
        assert "gpgcheck=1\n" in file.content


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ("4.14.0\n", "dnf 4.14.0"),
        ("5.2.6.2\n", "dnf 5.2.6.2"),
        ("file /usr/bin/dnf is not owned by any package\n", "unknown"),
    ],
)
def test_the_version_is_read(output: str, version: str) -> None:
    assert DNF.version().read(output) == version


def test_the_version_is_that_of_the_program() -> None:
    assert [manager.version().argv[-1] for manager in (DNF, Yum())] == ["/usr/bin/dnf", "/usr/bin/yum"]


def test_dnf5_is_told_where_lines_end_and_not_asked_for_checksums() -> None:
    argv = Dnf5().candidates(SPEC).argv

    assert [word for word in argv if word.startswith("--qf=")] == [
        "--qf=%{name}|%{epoch}|%{version}|%{release}|%{arch}|%{repoid}||%{location}\\n"
    ]


def test_yum_says_what_is_missing_in_its_own_words() -> None:
    output = (
        "Error: Package: bad-1.0-1.noarch (alts-1)\n           Requires: nothing-has-this >= 7\n"
        " You could try using --skip-broken to work around the problem\n"
    )

    [finding] = Yum().install(SPEC, CANDIDATE).judge(done(output))

    assert (finding.kind, "nothing-has-this >= 7" in finding.message) == (Kind.DEPENDENCY_UNMET, True)


def test_yum_s_list_is_read() -> None:
    output = "Available Packages\nbad.noarch      1:1.0-1.el7       alts-1\nbad.noarch      1:1.10-1.el7      alts-1\n"

    assert [candidate.version for candidate in Yum().candidates(SPEC).read(output)] == ["1:1.10-1.el7", "1:1.0-1.el7"]


def test_a_row_of_yum_s_list_may_go_on_in_the_next_line() -> None:
    name = "long-" * 10 + "name"
    output = f"Available Packages\n{name}.noarch\n                 1.0-1.el7     base\n"

    assert [candidate.version for candidate in Yum().candidates(named(name)).read(output)] == ["1.0-1.el7"]


@pytest.mark.parametrize(
    ("script", "code"),
    [("echo 'Error: No matching Packages to list' >&2; exit 1", 0), ("echo 'Cannot find a valid baseurl'; exit 1", 1)],
    ids=["nothing", "trouble"],
)
def test_that_yum_has_nothing_to_list_is_an_answer(script: str, code: int) -> None:
    shell, option, wrapper, name, *query = Yum().candidates(SPEC).argv

    done = subprocess.run(
        [shell, option, wrapper, name, "sh", "-c", script], capture_output=True, text=True, check=False
    )

    assert query[0] == "yum"
    assert done.returncode == code
    assert done.stdout.strip() in script
