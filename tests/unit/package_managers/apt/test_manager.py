"""Real output of apt and dpkg on Debian 11, 12 and 13, and its meaning."""

from __future__ import annotations

import pytest

from alts.core.command import Completed
from alts.package_managers.apt.manager import Apt
from alts.package_managers.apt.programs import WITHOUT_LISTS
from alts.package_managers.base import Candidate, Identity, InstalledPackage
from alts.shared.models.report import Finding, Kind, Severity
from alts.shared.models.task_spec import TaskSpec
from tests.support.builders import a_spec

APT = Apt()
CANDIDATE = Candidate("1.0", "")
BROUGHT = "http://repository.example/debian"
SPEC = a_spec(repositories=[{"url": f"{BROUGHT} bookworm main"}])


def done(output: str, exit_code: int = 100) -> Completed:
    return Completed(argv=("apt-get",), exit_code=exit_code, output=output, seconds=0.1)


def kinds(findings: tuple[Finding, ...]) -> list[Kind]:
    return [finding.kind for finding in findings]


INSTALL_OUTPUTS = {
    "no-such-package": ("E: Unable to locate package nosuch\n", [Kind.PACKAGE_NOT_FOUND]),
    "virtual-package": ("E: Package 'mta' has no installation candidate\n", [Kind.PACKAGE_NOT_FOUND]),
    "no-such-version": ("E: Version '9.9' for 'hello' was not found\n", [Kind.VERSION_NOT_AVAILABLE]),
    "missing-dependency": (
        "The following packages have unmet dependencies:\n"
        " bad : Depends: nothing-has-this (>= 1) but it is not installable\n"
        "E: Unable to correct problems, you have held broken packages.\n",
        [Kind.DEPENDENCY_UNMET],
    ),
    "two-missing-dependencies": (
        "The following packages have unmet dependencies:\n"
        " bad : Depends: one but it is not installable\n"
        "       Depends: two but it is not installable\n"
        "E: Unable to correct problems, you have held broken packages.\n",
        [Kind.DEPENDENCY_UNMET, Kind.DEPENDENCY_UNMET],
    ),
    "conflict": (
        "The following packages have unmet dependencies:\n"
        " bad : Conflicts: bash but 5.2.15-2+b7 is to be installed\n"
        "E: Error, pkgProblemResolver::Resolve generated breaks\n",
        [Kind.PACKAGE_CONFLICT],
    ),
    "file-conflict": (
        "dpkg: error processing archive /var/cache/apt/archives/bad_1_all.deb (--unpack):\n"
        " trying to overwrite '/usr/bin/hello', which is also in package hello 2.10-3\n"
        "E: Sub-process /usr/bin/dpkg returned an error code (1)\n",
        [Kind.FILE_CONFLICT],
    ),
    "file-in-place-of-a-folder": (
        "dpkg: error processing archive /var/cache/apt/archives/bad_1_all.deb (--unpack):\n"
        " trying to overwrite directory '/usr/share/doc' in package zlib1g:amd64 1:1.2.13.dfsg-1 with nondirectory\n"
        "E: Sub-process /usr/bin/dpkg returned an error code (1)\n",
        [Kind.FILE_CONFLICT],
    ),
    "failing-postinst": (
        "dpkg: error processing package bad (--configure):\n"
        " installed bad package post-installation script subprocess returned error exit status 3\n"
        "Errors were encountered while processing:\n bad\n"
        "E: Sub-process /usr/bin/dpkg returned an error code (1)\n",
        [Kind.SCRIPTLET_FAILED],
    ),
    "failing-preinst": (
        "dpkg: error processing archive /tmp/bad.deb (--unpack):\n"
        " new bad package pre-installation script subprocess returned error exit status 4\n",
        [Kind.SCRIPTLET_FAILED],
    ),
    "mirror-503": (
        "E: Failed to fetch http://deb.debian.org/debian/pool/h.deb  503  Service Unavailable [IP: 192.0.2.1 80]\n"
        "E: Unable to fetch some archives, maybe run apt-get update or try with --fix-missing?\n",
        [Kind.REPOSITORY_UNREACHABLE],
    ),
    "no-dns": (
        "E: Failed to fetch http://deb.debian.org/debian/pool/h.deb  Temporary failure resolving 'deb.debian.org'\n",
        [Kind.REPOSITORY_UNREACHABLE],
    ),
    "brought-repository-lies-about-checksum": (
        f"E: Failed to fetch {BROUGHT}/pool/h.deb  Hash Sum mismatch\n",
        [Kind.CHECKSUM_MISMATCH],
    ),
    "mirror-in-the-middle-of-an-update": (
        "E: Failed to fetch http://deb.debian.org/debian/pool/h.deb  Hash Sum mismatch\n",
        [Kind.REPOSITORY_UNREACHABLE],
    ),
    "cut-short-file": (
        "dpkg-deb: error: tar subprocess returned error exit status 2\n"
        "dpkg: error processing archive /var/cache/apt/alts/bad_1_all.deb (--unpack):\n"
        " dpkg-deb --control subprocess returned error exit status 2\n"
        "E: Sub-process /usr/bin/dpkg returned an error code (1)\n",
        [Kind.INSTALL_FAILED],
    ),
    "at-the-price-of-an-essential-package": (
        "E: Essential packages were removed and -y was used without --allow-remove-essential.\n",
        [Kind.PACKAGE_CONFLICT],
    ),
    "script-run-twice": (
        " installed bad package post-removal script subprocess returned error exit status 6\n"
        " installed bad package post-removal script subprocess returned error exit status 6\n",
        [Kind.SCRIPTLET_FAILED],
    ),
    "disk-full": (
        "E: Write error - write (28: No space left on device)\n",
        [Kind.DISK_FULL],
    ),
    "something-new": ("E: Sub-process was struck by lightning\n", [Kind.INSTALL_FAILED]),
}


@pytest.mark.parametrize(("output", "expected"), INSTALL_OUTPUTS.values(), ids=INSTALL_OUTPUTS)
def test_a_failed_installation_is_named_by_what_apt_says(output: str, expected: list[Kind]) -> None:
    findings = APT.install(SPEC, CANDIDATE).judge(done(output))

    assert kinds(findings) == expected
    assert all(finding.evidence for finding in findings)


LIES = (
    "E: Failed to fetch http://deb.debian.org/debian/pool/h.deb  503  Service Unavailable",
    "E: The repository 'http://deb.debian.org/debian bookworm Release' is not signed.",
    "cp: error writing '/dev/shm/x': No space left on device",
    "E: Unable to locate package bad",
    "E: Version '1' for 'bad' was not found",
    "E: Essential packages were removed and -y was used without --allow-remove-essential.",
    "The following packages have unmet dependencies:\n bad : Depends: one but it is not installable",
)


@pytest.mark.parametrize("works", ["Setting up bad (1.0) ...", "Preparing to unpack .../archives/bad_1.0_all.deb ..."])
@pytest.mark.parametrize("lie", LIES)
def test_a_script_that_speaks_like_apt_is_not_believed(works: str, lie: str) -> None:
    output = (
        f"Need to get 1,020 B of archives.\n{works}\n{lie}\n"
        "dpkg: error processing package bad (--configure):\n"
        " installed bad package post-installation script subprocess returned error exit status 1\n"
        "E: Sub-process /usr/bin/dpkg returned an error code (1)\n"
    )

    assert kinds(APT.install(SPEC, CANDIDATE).judge(done(output))) == [Kind.SCRIPTLET_FAILED]


def test_an_installation_that_ended_well_has_no_findings_whatever_its_scripts_print() -> None:
    output = "Setting up hello (2.10-3) ...\nE: Unable to locate package x\nNo space left on device\n"

    assert APT.install(SPEC, CANDIDATE).judge(done(output, 0)) == ()


@pytest.mark.parametrize(
    ("brought", "failed"),
    [
        ("http://deb.debian.org/debian", "http://deb.debian.org/debian/pool/h.deb"),
        ("http://mirror.example/debian", "http://mirror.example/debian-security/pool/h.deb"),
        ("http://mirror.example/debian", "http://deb.debian.org/debian/pool/h.deb"),
    ],
    ids=["the-distribution-s-own", "a-longer-name", "another-host"],
)
def test_a_mirror_that_changes_under_our_hands_is_not_the_task_s_fault(brought: str, failed: str) -> None:
    spec = a_spec(repositories=[{"url": f"{brought} bookworm-backports main"}])

    findings = APT.install(spec, CANDIDATE).judge(done(f"E: Failed to fetch {failed}  Hash Sum mismatch\n"))

    assert kinds(findings) == [Kind.REPOSITORY_UNREACHABLE]


UPDATE_OUTPUTS = {
    "unsigned-brought": (
        f"E: The repository '{BROUGHT} bookworm Release' is not signed.\n",
        [Kind.SIGNATURE_INVALID],
    ),
    "wrong-key-brought": (
        f"W: GPG error: {BROUGHT} bookworm Release: The following signatures couldn't be verified because the "
        "public key is not available: NO_PUBKEY 1234567890\n",
        [Kind.SIGNATURE_INVALID],
    ),
    "wrong-key-of-the-distribution": (
        "W: GPG error: http://deb.debian.org/debian bookworm InRelease: The following signatures couldn't be "
        "verified because the public key is not available: NO_PUBKEY 1234567890\n",
        [Kind.REPOSITORY_UNREACHABLE],
    ),
    "not-there": (
        f"E: The repository '{BROUGHT} bookworm Release' does not have a Release file.\n",
        [Kind.REPOSITORY_UNREACHABLE],
    ),
    "timeout": (
        "E: Failed to fetch http://x.example/dists/a/InRelease  Connection timed out\n",
        [Kind.REPOSITORY_UNREACHABLE],
    ),
    # Debian 12's wording.
    "mirror-503": (
        "E: Failed to fetch http://deb.debian.org/debian/dists/bookworm/InRelease  503  Service Unavailable\n"
        "E: The repository 'http://deb.debian.org/debian bookworm InRelease' is not signed.\n",
        [Kind.REPOSITORY_UNREACHABLE],
    ),
    "brought-signed-otherwise-than-before": (
        f"W: Failed to fetch {BROUGHT}/dists/bookworm/InRelease  The following signatures were invalid: BADSIG 1\n",
        [Kind.SIGNATURE_INVALID],
    ),
    "brought-503": (
        f"E: The repository '{BROUGHT} bookworm InRelease' is not signed.\n"
        f"E: Failed to fetch {BROUGHT}/dists/bookworm/InRelease  503  Service Unavailable [IP: 192.0.2.1 80]\n",
        [Kind.REPOSITORY_UNREACHABLE],
    ),
    "brought-unsigned-beside-a-mirror-503": (
        "E: Failed to fetch http://deb.debian.org/debian/dists/bookworm/InRelease  503  Service Unavailable\n"
        f"E: The repository '{BROUGHT} bookworm Release' is not signed.\n",
        [Kind.REPOSITORY_UNREACHABLE, Kind.SIGNATURE_INVALID],
    ),
    "silent": ("", [Kind.REPOSITORY_UNREACHABLE]),
}


@pytest.mark.parametrize(("output", "expected"), UPDATE_OUTPUTS.values(), ids=UPDATE_OUTPUTS)
def test_a_repository_that_cannot_be_used_is_named(output: str, expected: list[Kind]) -> None:
    assert kinds(APT.refresh(SPEC).judge(done(output))) == expected


def test_a_failed_installation_says_what_dpkg_has_against_it() -> None:
    output = (
        "dpkg: error processing archive /var/cache/apt/alts/bad_1_all.deb (--unpack):\n"
        " parsing file '/var/lib/dpkg/tmp.ci/control' near line 7: something new\n"
        "Errors were encountered while processing:\n /var/cache/apt/alts/bad_1_all.deb\n"
        "E: Sub-process /usr/bin/dpkg returned an error code (1)\n"
    )

    [finding] = APT.install(SPEC, CANDIDATE).judge(done(output))

    assert finding.evidence == (
        "dpkg: error processing archive /var/cache/apt/alts/bad_1_all.deb (--unpack): "
        "parsing file '/var/lib/dpkg/tmp.ci/control' near line 7: something new"
    )


@pytest.mark.parametrize(
    ("fetched", "words", "kind"),
    [
        ("", "", Kind.REPOSITORY_UNREACHABLE),
        ("Fetched 53.1 kB in 0s (1,2 kB/s)\n", "Setting up big (1.0) ...\n", Kind.TIMEOUT),
        ("Fetched 2,500 MB in 7min 20s (5,617 kB/s)\n", "Unpacking big (1.0) ...\n", Kind.TIMEOUT),
        ("Fetched 5,000 MB in 14min 50s (5,617 kB/s)\n", "Unpacking big (1.0) ...\n", Kind.REPOSITORY_UNREACHABLE),
        ("", "Setting up big (1.0) ...\nFetched 5 MB in 14min 50s (1 kB/s)\n", Kind.TIMEOUT),
    ],
    ids=["still fetching", "at once", "after a while", "until just now", "a script's words"],
)
def test_what_took_all_the_time_is_told_by_how_far_apt_has_come(fetched: str, words: str, kind: Kind) -> None:
    output = f"Need to get 5,000 MB of archives.\n{fetched}{words}"

    assert APT.hangs_at(output, seconds=900) is kind


def test_lists_that_were_fetched_have_no_findings() -> None:
    assert APT.refresh(SPEC).judge(done("Reading package lists...\n", 0)) == ()


def test_the_candidate_comes_first_whatever_is_newer() -> None:
    output = (
        "hello:\n  Installed: 2.10-2\n  Candidate: 2.10-3\n  Version table:\n"
        "     2.10-4~bpo12 100\n        100 http://x.example/debian bookworm-backports/main amd64 Packages\n"
        "     2.10-3 500\n        500 http://deb.debian.org/debian bookworm/main amd64 Packages\n"
        " *** 2.10-2 100\n        100 /var/lib/dpkg/status\n"
    )

    candidates = APT.candidates(SPEC).read(output)

    assert candidates[0] == Candidate("2.10-3", "http://deb.debian.org/debian bookworm/main amd64 Packages")
    assert [candidate.version for candidate in candidates] == ["2.10-3", "2.10-4~bpo12", "2.10-2"]


def test_a_version_that_ubuntu_brings_in_phases_is_one_of_them() -> None:
    output = (
        "apt:\n  Installed: 2.4.5\n  Candidate: 2.4.9\n  Version table:\n"
        "     2.4.9 500 (phased 10%)\n        500 http://archive.ubuntu.com/ubuntu jammy-updates/main amd64 Packages\n"
        " *** 2.4.5 500\n        500 http://archive.ubuntu.com/ubuntu jammy/main amd64 Packages\n"
        "        100 /var/lib/dpkg/status\n"
    )

    assert APT.candidates(a_spec(package_name="apt")).read(output) == (
        Candidate("2.4.9", "http://archive.ubuntu.com/ubuntu jammy-updates/main amd64 Packages"),
        Candidate("2.4.5", "http://archive.ubuntu.com/ubuntu jammy/main amd64 Packages"),
    )


@pytest.mark.parametrize("output", ["", "mta:\n  Installed: (none)\n  Candidate: (none)\n  Version table:\n"])
def test_unknown_and_virtual_packages_have_no_candidate(output: str) -> None:
    assert APT.candidates(a_spec(package_name="mta")).read(output) == ()


@pytest.mark.parametrize("name", ["x.y", "a+"])
def test_a_package_whose_name_only_matches_is_no_candidate(name: str) -> None:
    # Output of apt-cache policy for "x.y" as a regular expression.
    output = (
        "fonts-cwtex-yen:\n  Installed: (none)\n  Candidate: 1.0-5\n  Version table:\n"
        "     1.0-5 500\n        500 http://deb.debian.org/debian bookworm/main amd64 Packages\n"
    )

    assert APT.candidates(a_spec(package_name=name)).read(output) == ()


def test_apt_takes_no_name_for_a_regular_expression_whatever_it_is_asked() -> None:
    spec, candidate = a_spec(package_name="x.y"), Candidate("1.0", "")
    unmet = "The following packages have unmet dependencies:\n x.y : Depends: a+ but it is not installable\n"
    argvs = [
        APT.candidates(spec).argv,
        APT.install(spec, candidate).argv,
        APT.reinstall(spec, candidate).argv,
        APT.remove(spec).argv,
        APT.purge(spec).argv,
        APT.install_others(spec, {"a+": "1"}).argv,
        APT.remove_others(["a+"]).argv,
        *APT.identity(InstalledPackage("a+", "1", "all"), CANDIDATE).argvs[:2],
        *APT.why(spec, done(unmet, 100)).argvs,
    ]

    assert all("--option=APT::Cmd::Pattern-Only=true" in argv for argv in argvs)


@pytest.mark.parametrize("name", ["hello-", "g++", "libstdc++6"])
def test_a_name_that_ends_in_a_sign_is_installed_not_obeyed(name: str) -> None:
    argv = APT.install(a_spec(package_name=name), Candidate("1.0", "")).argv

    assert argv[-1] == f"{name}=1.0"


def test_verify_tells_missing_modified_and_conffile_apart() -> None:
    output = (
        "??5??????   /usr/bin/hello\nmissing     /usr/share/doc/hello/NEWS.gz\n??5?????? c /etc/hello.conf\n"
        "missing   c /etc/gone.conf (Permission denied)\n??5??????   /usr/share/a b (c)\n"
    )

    findings = APT.verify(SPEC).judge(done(output, 1))

    assert [(finding.kind, finding.severity) for finding in findings] == [
        (Kind.MODIFIED_FILE, Severity.ERROR),
        (Kind.MISSING_FILE, Severity.ERROR),
        (Kind.MODIFIED_FILE, Severity.WARNING),
        (Kind.MISSING_FILE, Severity.ERROR),
        (Kind.MODIFIED_FILE, Severity.ERROR),
    ]
    assert findings[3].message == "/etc/gone.conf is missing"
    assert findings[4].message == "/usr/share/a b (c) differs from the file in the package"


def test_a_verify_that_does_not_work_is_our_trouble() -> None:
    assert kinds(APT.verify(SPEC).judge(done("dpkg: error: cannot do that\n", 2))) == [Kind.INTERNAL]


PROTECTED = {
    "essential": (
        "E: Essential packages were removed and -y was used without --allow-remove-essential.\n",
        "removing hello would remove essential packages",
    ),
    "what-essential-ones-need": (
        "The following packages have unmet dependencies:\n"
        " dash : PreDepends: libc6 (>= 2.34) but it is not going to be installed\n"
        " apt : Depends: gpgv but it is not going to be installed or\n"
        "                gpgv2 but it is not installable\n"
        "       Recommends: ca-certificates but it is not installable\n"
        " base-files : PreDepends: awk\n"
        " sed : PreDepends: libacl1 (>= 2.2.23) but it is not going to be installed\n"
        "E: Error, pkgProblemResolver::Resolve generated breaks, this may be caused by held packages.\n",
        "removing hello would break apt, base-files, dash and 1 more",
    ),
    "something-else": ("E: Could not get lock /var/lib/dpkg/lock-frontend.\n", ""),
}


@pytest.mark.parametrize(("output", "why"), PROTECTED.values(), ids=PROTECTED)
def test_what_the_system_needs_is_not_to_be_removed(output: str, why: str) -> None:
    assert APT.removal_refused(SPEC, done(output)) == why


def test_a_script_s_words_are_no_refusal() -> None:
    output = f"Removing hello (2.10-3) ...\n{PROTECTED['essential'][0]}"

    assert APT.removal_refused(SPEC, done(output)) == ""


def test_what_the_system_can_do_without_may_be_removed() -> None:
    assert APT.removal_refused(SPEC, done("Package 'hello' is not installed, so not removed\n", 0)) == ""


MOUNTED = """Setting up resolvconf (1.91+nmu1) ...
ln: failed to create symbolic link '/etc/resolv.conf': Device or resource busy
dpkg: error processing package resolvconf (--configure):
 installed resolvconf package post-installation script subprocess returned error exit status 1
dpkg: error processing package hello (--configure):
 installed hello package post-installation script subprocess returned error exit status 1
"""
FROM_DEBIAN = "Get:1 http://deb.debian.org/debian bookworm/main amd64 resolvconf all 1.91+nmu1 [69.2 kB]\n"
FROM_TASK = f"Get:1 {BROUGHT} bookworm/main amd64 resolvconf all 1.91+nmu1 [69.2 kB]\n"


@pytest.mark.parametrize(("spec", "fetched"), [(SPEC, FROM_DEBIAN), (a_spec(), "")], ids=["fetched", "nothing else"])
def test_a_script_that_a_container_cannot_please_is_no_fault_of_the_package(spec: TaskSpec, fetched: str) -> None:
    ours, theirs = APT.install(spec, CANDIDATE).judge(done(fetched + MOUNTED))

    assert ours.kind is Kind.INTERNAL
    assert ours.message.startswith(
        "resolvconf: its post-installation script failed, exit status 1: it replaces /etc/resolv.conf"
    )
    assert ours.evidence == "ln: failed to create symbolic link '/etc/resolv.conf': Device or resource busy"
    assert (theirs.kind, theirs.message) == (
        Kind.SCRIPTLET_FAILED,
        "hello: its post-installation script failed, exit status 1",
    )


@pytest.mark.parametrize("fetched", [FROM_TASK, FROM_TASK + FROM_DEBIAN, ""], ids=["brought", "both", "unknown"])
def test_a_brought_script_is_not_believed_that_a_container_cannot_please_it(fetched: str) -> None:
    assert set(kinds(APT.install(SPEC, CANDIDATE).judge(done(fetched + MOUNTED)))) == {Kind.SCRIPTLET_FAILED}


@pytest.mark.parametrize(
    ("output", "line"),
    [
        (
            "E: Write error - write (28: No space left on device)\n",
            "E: Write error - write (28: No space left on device)",
        ),
        (
            "dpkg: error processing archive /var/cache/apt/alts/a_1_all.deb (--unpack):\n"
            " cannot copy extracted data for './a' to '/a.dpkg-new': failed to write (No space left on device)\n",
            "cannot copy extracted data for './a' to '/a.dpkg-new': failed to write (No space left on device)",
        ),
        ("Setting up a (1.0) ...\ncp: error writing '/dev/shm/x': No space left on device\n", ""),
    ],
    ids=["apt", "dpkg", "a script"],
)
def test_only_apt_and_dpkg_are_believed_that_the_disk_was_full(output: str, line: str) -> None:
    assert APT.disk_full_line(output) == line


def test_a_failing_prerm_is_a_failed_scriptlet() -> None:
    output = " installed bad package pre-removal script subprocess returned error exit status 5\n"

    assert kinds(APT.remove(SPEC).judge(done(output))) == [Kind.SCRIPTLET_FAILED]


@pytest.mark.parametrize(
    ("output", "version"),
    [("hello\t2.10-3\tamd64\tinstalled\n", "2.10-3"), ("hello:amd64\t1\tamd64\tinstalled\n", "1")],
)
def test_an_installed_package_is_read(output: str, version: str) -> None:
    installed = APT.installed(SPEC).read(output)

    assert installed is not None
    assert installed.version == version


@pytest.mark.parametrize("output", ["", "hello\t2.10-3\tamd64\tconfig-files\n", "hello-x\t1\tamd64\tinstalled\n"])
def test_what_is_not_installed_is_not_read_as_installed(output: str) -> None:
    assert APT.installed(SPEC).read(output) is None


SHA256 = "29c5d558a1ea469f63eb3ecf43fea8f667966d950b40baccab1e42c34fd83be5"
OTHER = "f" * 64
GOOD = InstalledPackage("good", "1:2.0-1", "all")
PROOF = (
    "good:\n  Installed: 1:2.0-1\n  Candidate: 1:2.0-1\n  Version table:\n"
    "     1:2.0-1 500\n        500 http://other.example/debian sid/main amd64 Packages\n"
    " *** 1:2.0-1 500\n        500 http://repository.example/debian bookworm/main amd64 Packages\n"
    "        100 /var/lib/dpkg/status\n",
    f"Package: good\nVersion: 1:2.0-1\nFilename: pool/other.deb\nSHA256: {OTHER}\n\n"
    f"Package: good\nVersion: 1:2.0-1\nFilename: ./good_2.0-1_all.deb\nSHA256: {SHA256}\nDescription: x\n y: z\n",
    f"{SHA256}  /var/cache/apt/alts/good_1%3a2.0-1_all.deb\n",
)


def test_the_proof_is_of_the_file_that_is_here_and_of_the_repository_it_came_from() -> None:
    identity = APT.identity(GOOD, CANDIDATE).read(PROOF)

    assert identity == Identity(
        name="good",
        version="1:2.0-1",
        architecture="all",
        repository="http://repository.example/debian bookworm/main amd64 Packages",
        file="good_2.0-1_all.deb",
        sha256=SHA256,
        promised_sha256=SHA256,
    )


def test_a_file_that_no_index_promises_is_told_from_what_was_promised() -> None:
    outputs = [*PROOF[:2], PROOF[2].replace(SHA256, "a" * 64)]

    identity = APT.identity(GOOD, CANDIDATE).read(outputs)

    assert identity.sha256 != identity.promised_sha256 == OTHER


def test_the_downloaded_file_is_found_by_its_quoted_epoch() -> None:
    argv = APT.identity(GOOD, CANDIDATE).argvs[-1]

    assert "good_1%3a2.0-1_*.deb" in argv


def test_what_scripts_print_of_an_installation_that_ended_well_is_not_believed() -> None:
    assert APT.install(SPEC, CANDIDATE).judge(done(INSTALL_OUTPUTS["disk-full"][0], 0)) == ()


def test_installed_packages_are_named_with_a_foreign_architecture_only() -> None:
    output = (
        "dpkg\t1.21\tamd64\tinstalled\nlibc6\t2.36\tamd64\tinstalled\nlibc6\t2.36\ti386\tinstalled\n"
        "gone\t1\tamd64\tconfig-files\ntzdata\t2024\tall\tinstalled\n"
    )

    assert APT.installed_packages().read(output) == {
        "dpkg": "1.21",
        "libc6": "2.36",
        "libc6:i386": "2.36",
        "tzdata": "2024",
    }


def test_the_files_of_a_package_are_paths_and_nothing_else() -> None:
    output = "/.\n/usr\n/usr/bin/x\ndiverted by dash to: /usr/bin/x.distrib\n"

    assert APT.owned_files(SPEC).read(output) == ("/usr", "/usr/bin/x")


@pytest.mark.parametrize(
    ("candidates", "base"),
    [
        ([("2.0", BROUGHT), ("1.0", "http://deb.debian.org/debian bookworm/main")], "1.0"),
        ([("2.0", BROUGHT), ("1.9", f"{BROUGHT} bookworm/main"), ("1.0", "http://m.example/debian")], "1.0"),
        ([("2.0", BROUGHT), ("9.0", "http://m.example/d"), ("1.10", "http://m.example/d"), ("1.9", "x")], "1.10"),
        ([("2.0", BROUGHT), ("1.0", "")], None),
        ([("2.0", BROUGHT)], None),
    ],
    ids=["older", "the task's own older one", "the newest older one", "only installed", "none"],
)
def test_an_upgrade_starts_from_what_the_distribution_has(candidates: list[tuple[str, str]], base: str | None) -> None:
    known = [Candidate(version, origin) for version, origin in candidates]

    found = APT.upgrade_base(SPEC, known[0], known)

    assert (found.version if found else None) == base


@pytest.mark.parametrize(
    ("output", "code", "agrees"),
    [
        ("Remv hello [2.10-3]\n", 0, True),
        ("Purg hello [2.10-3]\n", 0, True),
        ("Remv hello [2.10-3]\nRemv needs-hello [1.0]\n", 0, False),
        ("Remv hello [2.10-3] []\nInst other (1.0 Debian:12 [amd64])\nConf other (1.0 Debian:12 [amd64])\n", 0, False),
        ("Remv other [1.0]\n", 0, False),
        ("Package 'hello' is not installed, so not removed\n", 0, False),
        ("Remv hello [2.10-3]\nE: Removing essential system-critical packages is not permitted\n", 100, False),
    ],
    ids=["removed", "purged", "another goes", "another comes", "another instead", "nothing", "refused"],
)
def test_a_removal_without_the_lists_takes_away_just_what_is_named(output: str, code: int, *, agrees: bool) -> None:
    removal = APT.remove(a_spec())
    assert removal.rehearsal is not None

    assert removal.rehearsal.agrees(done(output, code)) is agrees


def test_the_rehearsal_is_a_simulation_of_the_quicker_command() -> None:
    for removal in (APT.remove(a_spec()), APT.purge(a_spec()), APT.remove_others(["b", "a:i386"])):
        assert removal.rehearsal is not None
        rehearsed, quicker = removal.rehearsal.argv, removal.rehearsal.quicker
        assert [word for word in rehearsed if word != "--simulate"] == list(quicker)
        assert [word for word in quicker if word not in WITHOUT_LISTS] == list(removal.argv)
