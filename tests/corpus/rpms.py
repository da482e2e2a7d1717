"""Specs of good and bad RPMs, and the expected verdicts.

ROWS is the table: package → expected outcome and kinds. tests.corpus.debs is the Debian counterpart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from tests.corpus.debs import DAEMON
from tests.corpus.debs import Row as AnyRow
from tests.corpus.elf import elf

LIBRARIES = "/usr/lib64"


@dataclass(frozen=True)
class Rpm:
    """The content of an RPM."""

    name: str
    version: str = "1.0"
    release: str = "1"
    epoch: int | None = None
    architecture: str = "noarch"
    tags: tuple[str, ...] = ()
    """Extra lines of the preamble, e.g. "Requires: bash"."""
    files: Mapping[str, str | bytes] | None = None
    """Path → content; bytes make a program. None: one data file."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """Path → its prefix in %files, e.g. "%config(noreplace)"."""
    links: Mapping[str, str] = field(default_factory=dict)
    scripts: Mapping[str, str] = field(default_factory=dict)
    """Scriptlet, e.g. "post" → shell lines."""


Row = partial(AnyRow, distribution="9")

X86_64 = "x86_64"
# From dnf, these messages would mean a fault of the mirror or the machine. Here a scriptlet prints them.
LIES = """\
echo "Error: Failed to download metadata for repo 'debian': Status code: 503 for http://mirror.example/repomd.xml" >&2
echo "Curl error (28): Timeout was reached for http://mirror.example/repomd.xml" >&2
echo "cp: error writing '/dev/shm/x': No space left on device" >&2
exit 1
"""
# rpmbuild adds a Requires for each library that an ELF file needs. Without AutoReq: no, the package could not be
# installed.
NO_AUTOREQ = ("AutoReq: no",)

GOOD = (
    Rpm("good-noarch"),
    Rpm("good-noarch-1", "7.0", tags=("Requires: good-noarch",)),
    Rpm("good-signed"),
    Rpm("good-epoch", "2.0", epoch=1),
    Rpm("good+plus.dots", "1.0~rc1^git2"),
    Rpm("good-metapackage", tags=("Requires: good-noarch", "Requires: good-epoch >= 1:2"), files={}),
    Rpm("good-debuginfo", architecture=X86_64, files={"/usr/lib/debug/usr/bin/good.debug": elf(needed=["libc.so.6"])}),
    Rpm(
        "good-config",
        files={"/etc/good-config/main.conf": "answer = 42\n", "/usr/share/doc/good-config/README": "made for a test\n"},
        attributes={"/etc/good-config/main.conf": "%config(noreplace)", "/usr/share/doc/good-config/README": "%doc"},
    ),
    Rpm(
        "good-elf",
        architecture=X86_64,
        files={
            "/usr/bin/good-elf": elf(needed=["libgood.so.1", "libc.so.6"]),
            f"{LIBRARIES}/libgood.so.1.0": elf(soname="libgood.so.1", needed=["libc.so.6"]),
        },
        links={f"{LIBRARIES}/libgood.so.1": "libgood.so.1.0"},
    ),
    Rpm(
        "good-user",
        tags=("Requires(pre): shadow-utils", "Requires(postun): shadow-utils"),
        scripts={
            "pre": "getent passwd good >/dev/null || "
            "useradd --system --no-create-home --home-dir /nonexistent --shell /sbin/nologin good",
            "postun": "[ $1 -gt 0 ] || userdel good",
        },
    ),
    # Users declared for systemd-sysusers are never removed.
    Rpm(
        "good-sysusers",
        tags=("Requires(pre): shadow-utils",),
        files={"/usr/lib/sysusers.d/good-sysusers.conf": 'u goodsys - "made for a test" /nonexistent\n'},
        scripts={"pre": "useradd --system --no-create-home --home-dir /nonexistent --shell /sbin/nologin goodsys"},
    ),
    Rpm(
        "good-missingok",
        files={"/etc/good-missingok.conf": "answer = 42\n"},
        attributes={"/etc/good-missingok.conf": "%config(missingok)"},
        scripts={"post": "rm /etc/good-missingok.conf"},
    ),
    Rpm("good-ghost", files={"/var/lib/good-ghost/state": ""}, attributes={"/var/lib/good-ghost/state": "%ghost"}),
    # More output than the logs and the reader keep. They drop the middle; the verdict is unaffected. The lines are long
    # because dnf writes each line to its history separately, and a million lines take minutes.
    Rpm("huge-output", scripts={"post": "head -c 100000000 /dev/zero | tr '\\0' x | fold -w 100000"}),
)

UNINSTALLABLE = (
    Rpm("missing-dependency", tags=("Requires: nothing-has-this >= 7",)),
    Rpm("missing-soname", tags=("Requires: libnothere.so.9()(64bit)",)),
    Rpm("needs-middle", tags=("Requires: middle",)),
    Rpm("middle", tags=("Requires: nothing-has-this >= 7",)),
    Rpm("old-dependency", tags=("Requires: good-noarch >= 3",)),
    Rpm("conflicts-with-system", tags=("Conflicts: bash",)),
    Rpm("rival-a"),
    Rpm("rival-b", tags=("Conflicts: rival-a",)),
    Rpm("needs-both-rivals", tags=("Requires: rival-a", "Requires: rival-b")),
    Rpm("file-conflict", files={"/usr/bin/sha256sum": "not the real one\n"}),
    Rpm("failing-pre", scripts={"pre": "echo it goes wrong >&2; exit 3"}),
    Rpm("failing-post", scripts={"post": "echo it goes wrong >&2; exit 4"}),
    # rpm has a built-in Lua interpreter with its own error messages.
    Rpm("failing-lua", scripts={"post -p <lua>": "error('it goes wrong')"}),
    Rpm("hungry-post", scripts={"post": "tail /dev/zero"}),
    Rpm("lying-pre", scripts={"pre": LIES}),
    Rpm("killed-post", scripts={"post": "kill -KILL $$"}),
    Rpm("hanging-post", scripts={"post": "sleep 3600"}),
    Rpm("needs-failing-post", tags=("Requires: failing-post",)),
    Rpm("truncated"),
    Rpm("wrong-checksum"),
)

BROKEN = (
    Rpm(
        "missing-library",
        architecture=X86_64,
        tags=NO_AUTOREQ,
        files={"/usr/bin/missing-library": elf(needed=["libnothere.so.9"])},
    ),
    Rpm(
        "bad-rpath",
        architecture=X86_64,
        files={"/usr/bin/bad-rpath": elf(needed=["libc.so.6"], runpath="/tmp/build/lib")},
    ),
    Rpm("missing-interpreter", tags=NO_AUTOREQ, files={"/usr/bin/missing-interpreter": b"#!/usr/bin/python2\n"}),
    Rpm("failing-verify", scripts={"verifyscript": "echo it is wrong >&2; exit 3"}),
    Rpm("broken-symlink", links={"/usr/share/broken-symlink/link": "../nowhere/file"}),
    Rpm("deleted-file", scripts={"post": "rm /usr/share/deleted-file/readme"}),
    Rpm("changed-file", scripts={"post": "echo more >> /usr/share/changed-file/readme"}),
    Rpm(
        "changed-config",
        files={"/etc/changed.conf": "answer = 42\n"},
        attributes={"/etc/changed.conf": "%config"},
        scripts={"post": "echo answer = 43 > /etc/changed.conf", "postun": "rm -f /etc/changed.conf.rpmsave"},
    ),
)

CLINGING = (
    Rpm("failing-preun", scripts={"preun": "exit 5"}),
    Rpm("failing-postun", scripts={"postun": "exit 6"}),
    Rpm("hanging-preun", scripts={"preun": "sleep 3600"}),
    Rpm("leftover-etc", scripts={"post": "echo left > /etc/leftover.conf"}),
    Rpm("leftover-var", scripts={"post": "mkdir -p /var/lib/leftover; echo left > /var/lib/leftover/state"}),
    Rpm(
        "leftover-user",
        tags=("Requires(post): shadow-utils",),
        scripts={"post": "useradd --system --no-create-home leftover"},
    ),
    Rpm("changed-program", scripts={"post": "chmod 4755 /usr/bin/env"}),
    Rpm("leftover-process", scripts={"post": DAEMON}),
    Rpm(
        "leftover-cron",
        scripts={"post": "mkdir -p /etc/cron.d; echo '@daily root /bin/true' > /etc/cron.d/leftover"},
    ),
)

# Newer than the stand-in's package of the same name.
UPGRADES = (
    Rpm("logsave", "99.0", scripts={"pre": "[ ! -e /usr/sbin/logsave ] || exit 8"}),
    Rpm("once-only", scripts={"post": "mkdir /var/lib/once-only"}),
)

FAULTY = "pinentry-curses"
"""The package of tests.acceptance.test_faults. The stand-in has an older version."""

FOR_FAULTS = (
    Rpm(FAULTY, "99.0", architecture=X86_64, tags=("Requires: fault-library", "Requires: createrepo_c")),
    Rpm("fault-library", scripts={"post": "echo left > /etc/fault-library.conf"}),
    Rpm("fault-big", files={f"/usr/share/fault-big/{number}": b"\0" * 40_000_000 for number in "12"}),
)

RPMS = (*GOOD, *UNINSTALLABLE, *BROKEN, *CLINGING, *UPGRADES, *FOR_FAULTS)

ROWS = (
    Row("good-noarch", outcome="passed"),
    Row("good-noarch", outcome="passed", repository="priority"),
    Row("good-signed", outcome="passed", repository="signed"),
    Row("good-signed", outcome="passed", repository="several_keys"),
    Row("good-signed", outcome="passed", repository="signed", version="1.0"),
    Row("good-epoch", outcome="passed"),
    Row("good-epoch", outcome="passed", version="1:2.0-1"),
    Row("good+plus.dots", outcome="passed", version="1.0~rc1^git2-1"),
    Row("good-metapackage", outcome="passed"),
    Row("good-debuginfo", outcome="passed"),
    Row("good-config", outcome="passed"),
    Row("good-elf", outcome="passed"),
    Row("good-user", outcome="passed"),
    Row("good-ghost", outcome="passed"),
    Row("good-sysusers", outcome="passed"),
    Row("good-missingok", outcome="passed"),
    Row("huge-output", outcome="passed"),
    # Packages of the distribution itself; bash is an essential one.
    Row("createrepo_c", outcome="passed", repository="none"),
    Row("bash", outcome="passed", repository="none"),
    Row("nobody-has-this", ("package_not_found",)),
    # dnf reads these as a version, or an architecture, of good-noarch.
    Row("good-noarch-1.0", ("package_not_found",), says="a package named good-noarch-1.0"),
    Row("good-noarch.noarch", ("package_not_found",), says="a package named good-noarch.noarch"),
    # dnf can also read its name as version 1.0 of good-noarch, its dependency. Only good-noarch-1 may be removed.
    Row("good-noarch-1", outcome="passed"),
    Row("good-noarch", ("version_not_available",), version="9.9"),
    Row("missing-dependency", ("dependency_unmet",), says="needs nothing-has-this >= 7: no repository has it"),
    Row("missing-soname", ("dependency_unmet",), says="needs libnothere.so.9()(64bit): no repository has it"),
    Row(
        "needs-middle",
        ("dependency_unmet",),
        says="needs-middle needs middle, middle needs nothing-has-this >= 7: no repository has it",
    ),
    Row("old-dependency", ("dependency_unmet",), says="needs good-noarch >= 3: only 1.0-1 is available"),
    Row("conflicts-with-system", ("package_conflict",), says="bash"),
    Row("needs-both-rivals", ("package_conflict",), says="rival-a"),
    Row("file-conflict", ("file_conflict",), says="/usr/bin/sha256sum"),
    Row("failing-pre", ("scriptlet_failed",), says="%pre"),
    Row("lying-pre", ("scriptlet_failed",)),
    Row("failing-post", ("scriptlet_failed",), says="%post"),
    Row("killed-post", ("scriptlet_failed",)),
    Row("failing-lua", ("scriptlet_failed",), says="%post script failed in line 1: it goes wrong"),
    Row("hungry-post", ("out_of_memory",)),
    Row("needs-failing-post", ("scriptlet_failed",), says="failing-post"),
    Row("hanging-post", ("timeout",)),
    Row("truncated", ("checksum_mismatch",)),
    Row("wrong-checksum", ("checksum_mismatch",), repository="wrong_checksum"),
    Row("good-signed", ("signature_invalid",), repository="wrong_signature"),
    Row("good-noarch", ("signature_invalid",), repository="unsigned"),
    Row("good-noarch", ("repository_unreachable",), outcome="errored", repository="nowhere"),
    Row("good-noarch", ("repository_unreachable",), outcome="errored", repository="silent"),
    Row("missing-library", ("missing_library",)),
    Row("bad-rpath", ("bad_rpath",)),
    Row("missing-interpreter", ("missing_file",), says="/usr/bin/python2"),
    Row("failing-verify", ("scriptlet_failed",), says="%verifyscript"),
    Row("broken-symlink", ("broken_symlink",)),
    Row("deleted-file", ("missing_file",)),
    Row("changed-file", ("modified_file",)),
    Row("changed-config", ("modified_file",), outcome="passed"),
    Row("failing-preun", ("scriptlet_failed",), says="%preun"),
    Row("failing-postun", ("scriptlet_failed",), says="%postun"),
    Row("hanging-preun", ("timeout",)),
    Row("leftover-etc", ("leftover_file",)),
    Row("leftover-var", ("leftover_file",)),
    Row("leftover-user", ("leftover_user",)),
    Row("changed-program", ("modified_file",), says="/usr/bin/env"),
    Row("leftover-process", ("process_left_running",)),
    Row("leftover-cron", ("leftover_file",)),
    # Upgrades the stand-in's older version, with a dependency that leaves a file behind.
    Row(FAULTY, outcome="passed", plan="full"),
    Row("logsave", ("scriptlet_failed",), plan="full", says="%pre"),
    # Fails on reinstall, and again on the installation after the removal.
    Row("once-only", ("scriptlet_failed", "leftover_file", "scriptlet_failed"), plan="full"),
)
