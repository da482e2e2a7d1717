"""Specs of good and bad Debian packages, and the expected verdicts.

ROWS is the table: package → expected outcome and kinds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.corpus.elf import elf

LIBRARIES = "/usr/lib/x86_64-linux-gnu"
DAEMON = "setsid sleep 86400 </dev/null >/dev/null 2>&1 &"


@dataclass(frozen=True)
class Deb:
    """The content of a .deb."""

    name: str
    version: str = "1.0"
    fields: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str | bytes] | None = None
    """Path → content. None: one documentation file."""
    links: Mapping[str, str] = field(default_factory=dict)
    scripts: Mapping[str, str] = field(default_factory=dict)
    cut_short: bool = False
    """Truncate the package to half its size. The index describes the truncated file."""


@dataclass(frozen=True)
class Row:
    """A package and the exact expected verdict."""

    package: str
    kinds: tuple[str, ...] = ()
    """Kinds of all findings except those of severity info, sorted."""
    outcome: str = "failed"
    repository: str = "plain"
    """A key of tests.corpus.deb_builder.repositories."""
    says: str = ""
    """Substring of the first finding's message."""
    version: str | None = None
    distribution: str = "12"
    """Version of the distribution under test."""

    plan: str = "standard"
    slow: bool = False
    """The test runs until its time limit."""

    @property
    def id(self) -> str:
        """Return a unique id that is valid in a test's name."""
        ways = [self.package, *([self.repository] if self.repository != "plain" else [])]
        ways += [self.plan] if self.plan != "standard" else []
        return "-".join(
            [
                *ways,
                *([self.version] if self.version else []),
                *([self.distribution] if self.distribution != "12" else []),
            ]
        )


AMD64 = {"Architecture": "amd64"}
# From apt, these messages would mean a fault of the mirror or the machine. Here a scriptlet prints them.
LIES = """\
echo 'Err:1 http://deb.debian.org/debian bookworm InRelease'
echo 'E: Failed to fetch http://deb.debian.org/debian/pool/main/h/hello.deb  503  Service Unavailable' >&2
echo 'E: Unable to locate package lying-postinst' >&2
echo "cp: error writing '/dev/shm/x': No space left on device" >&2
exit 1
"""

GOOD = (
    Deb("good-all"),
    Deb("good-signed"),
    Deb("good-epoch", "1:2.0-1"),
    Deb("good+plus.dots", "1.0~rc1+b1"),
    Deb("good-metapackage", fields={"Depends": "good-all, good-epoch (>= 1:2)"}, files={}),
    Deb(
        "good-conffile",
        files={
            "/etc/good-conffile/main.conf": "answer = 42\n",
            "/DEBIAN/conffiles": "/etc/good-conffile/main.conf\n",
            "/usr/share/doc/good-conffile/copyright": "made for a test\n",
        },
    ),
    Deb(
        "good-elf",
        fields={**AMD64, "Depends": "libc6"},
        files={
            "/usr/bin/good-elf": elf(needed=["libgood.so.1", "libc.so.6"]),
            f"{LIBRARIES}/libgood.so.1.0": elf(soname="libgood.so.1", needed=["libc.so.6"]),
            "/DEBIAN/triggers": "activate-noawait ldconfig\n",
        },
        links={f"{LIBRARIES}/libgood.so.1": "libgood.so.1.0"},
    ),
    Deb(
        "good-user",
        fields={"Depends": "passwd"},
        scripts={
            "postinst": "[ $1 != configure ] || id -u _good >/dev/null 2>&1 || "
            "useradd --system --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin _good",
            "postrm": "[ $1 != purge ] || ! id -u _good >/dev/null 2>&1 || userdel _good",
        },
    ),
    Deb(
        "good-state",
        files={"/var/lib/good-state/.keep": ""},
        scripts={
            "postinst": "echo state > /var/lib/good-state/state; echo line > /var/log/good-state.log",
            "postrm": "[ $1 != purge ] || rm -rf /var/lib/good-state /var/log/good-state.log",
        },
    ),
    # systemd-sysusers cannot remove users.
    Deb(
        "good-sysusers",
        fields={"Depends": "systemd-standalone-sysusers"},
        files={"/usr/lib/sysusers.d/good-sysusers.conf": 'u _goodsys - "made for a test" /var/lib/good-sysusers\n'},
        scripts={"postinst": "systemd-sysusers good-sysusers.conf"},
    ),
    # dpkg removes these folders with the package if they are empty and no package owns them.
    Deb(
        "good-places", files={f"{path}/good-places/file": "x" for path in ("/opt", "/srv", "/usr/local/share", "/tmp")}
    ),
    # More output than the logs and the reader keep. They drop the middle; the verdict is unaffected.
    Deb("huge-output", scripts={"postinst": "yes 'a line that nobody is going to read' | head -c 100000000"}),
)

UNINSTALLABLE = (
    Deb("missing-dependency", fields={"Depends": "nothing-has-this (>= 7)"}),
    Deb("needs-middle", fields={"Depends": "middle"}),
    Deb("middle", fields={"Depends": "nothing-has-this (>= 7)"}),
    Deb("old-dependency", fields={"Depends": "good-all (>= 3)"}),
    Deb("alternative-dependency", fields={"Depends": "nothing-has-this | good-all (>= 3)"}),
    Deb("two-missing-dependencies", fields={"Depends": "nothing-has-this, nothing-has-that"}),
    Deb("conflicts-with-system", fields={"Conflicts": "bash"}),
    Deb("breaks-system", fields={"Breaks": "libc6"}),
    Deb("rival-a"),
    Deb("rival-b", fields={"Conflicts": "rival-a"}),
    Deb("needs-both-rivals", fields={"Depends": "rival-a, rival-b"}),
    Deb("file-conflict", files={"/usr/bin/sha256sum": "not the real one\n"}),
    Deb("failing-preinst", scripts={"preinst": "echo it goes wrong >&2; exit 3"}),
    Deb("failing-postinst", scripts={"postinst": "echo it goes wrong >&2; exit 4"}),
    Deb("hanging-postinst", scripts={"postinst": "sleep 3600"}),
    Deb("hungry-postinst", scripts={"postinst": "tail /dev/zero"}),
    Deb("lying-postinst", scripts={"postinst": LIES}),
    Deb("full-lying-preinst", scripts={"preinst": "echo 'cp: /x: No space left on device'"}),
    Deb(
        "needs-full-lying-preinst",
        fields={"Pre-Depends": "full-lying-preinst"},
        files={"/usr/bin/sha256sum": "not the real one\n"},
    ),
    Deb("mounted-lying-postinst", scripts={"postinst": "echo 'mv: /etc/hosts: Device or resource busy'; exit 3"}),
    Deb("killed-postinst", scripts={"postinst": "kill -KILL $$"}),
    Deb("needs-failing-postinst", fields={"Depends": "failing-postinst"}),
    Deb("truncated", cut_short=True),
    Deb("wrong-checksum"),
)

BROKEN = (
    Deb("missing-library", fields=AMD64, files={"/usr/bin/missing-library": elf(needed=["libnothere.so.9"])}),
    Deb("bad-rpath", fields=AMD64, files={"/usr/bin/bad-rpath": elf(needed=["libc.so.6"], runpath="/tmp/build/lib")}),
    Deb("missing-interpreter", fields=AMD64, files={"/usr/bin/missing-interpreter": b"#!/usr/bin/python2\n"}),
    Deb("broken-symlink", links={"/usr/share/broken-symlink/link": "../nowhere/file"}),
    Deb("deleted-file", scripts={"postinst": "rm /usr/share/deleted-file/readme"}),
    Deb("changed-file", scripts={"postinst": "echo more >> /usr/share/changed-file/readme"}),
    Deb(
        "changed-conffile",
        files={"/etc/changed.conf": "answer = 42\n", "/DEBIAN/conffiles": "/etc/changed.conf\n"},
        scripts={"postinst": "echo answer = 43 > /etc/changed.conf"},
    ),
)

CLINGING = (
    Deb("failing-prerm", scripts={"prerm": "exit 5"}),
    Deb("failing-postrm", scripts={"postrm": "exit 6"}),
    Deb("failing-purge", scripts={"postrm": "[ $1 != purge ] || exit 7"}),
    Deb("hanging-prerm", scripts={"prerm": "sleep 3600"}),
    Deb("leftover-etc", scripts={"postinst": "echo left > /etc/leftover.conf"}),
    Deb("leftover-var", scripts={"postinst": "mkdir -p /var/lib/leftover; echo left > /var/lib/leftover/state"}),
    Deb("leftover-user", fields={"Depends": "passwd"}, scripts={"postinst": "useradd --system --no-create-home _left"}),
    Deb("leftover-diversion", scripts={"postinst": "dpkg-divert --add --no-rename /usr/bin/leftover"}),
    Deb("changed-program", scripts={"postinst": "chmod 4755 /usr/bin/env"}),
    Deb("changed-user", scripts={"postinst": "sed -i 's#^games:x:5:#games:x:0:#' /etc/passwd"}),
    Deb("leftover-process", scripts={"postinst": DAEMON}),
    Deb(
        "leftover-cron",
        scripts={"postinst": "mkdir -p /etc/cron.d; echo '@daily root /bin/true' > /etc/cron.d/leftover"},
    ),
)

# Newer than Debian's packages of the same names.
UPGRADES = (
    Deb("hello", "99.0"),
    Deb(
        "hello-traditional",
        "99.0",
        scripts={"preinst": '[ "$1" != upgrade ] || dpkg --compare-versions "$2" ge 99 || exit 8'},
    ),
    Deb("once-only", scripts={"postinst": "mkdir /var/lib/once-only"}),
)

DEBS = (*GOOD, *UNINSTALLABLE, *BROKEN, *CLINGING, *UPGRADES)

ROWS = (
    Row("good-all", outcome="passed"),
    Row("good-signed", outcome="passed", repository="signed"),
    Row("good-epoch", outcome="passed"),
    Row("good-epoch", outcome="passed", version="1:2.0-1", distribution="11"),
    Row("good+plus.dots", outcome="passed"),
    Row("good-metapackage", outcome="passed"),
    Row("good-conffile", outcome="passed"),
    Row("good-elf", outcome="passed"),
    Row("good-user", outcome="passed"),
    Row("good-state", outcome="passed"),
    Row("good-sysusers", outcome="passed"),
    Row("good-places", outcome="passed"),
    Row("huge-output", outcome="passed", slow=True),
    Row("nobody-has-this", ("package_not_found",)),
    # As regular expressions these match other packages. A trailing + or - tells apt to install or remove.
    Row("good.all", ("package_not_found",), says="a package named good.all"),
    Row("g+", ("package_not_found",), says="a package named g+"),
    Row("good-all-", ("package_not_found",), says="a package named good-all-"),
    Row("good-all", ("version_not_available",), version="9.9"),
    Row("missing-dependency", ("dependency_unmet",), says="needs nothing-has-this (>= 7): no repository has it"),
    Row(
        "needs-middle",
        ("dependency_unmet",),
        says="needs-middle needs middle, middle needs nothing-has-this (>= 7): no repository has it",
    ),
    Row("old-dependency", ("dependency_unmet",), says="needs good-all (>= 3): only 1.0 is available"),
    Row(
        "alternative-dependency",
        ("dependency_unmet",),
        says="nothing-has-this: no repository has it, or good-all (>= 3): only 1.0 is available",
    ),
    Row("two-missing-dependencies", ("dependency_unmet", "dependency_unmet")),
    Row("conflicts-with-system", ("package_conflict",)),
    Row("breaks-system", ("package_conflict",)),
    Row("needs-both-rivals", ("package_conflict",)),
    Row("file-conflict", ("file_conflict",), says="/usr/bin/sha256sum"),
    Row("failing-preinst", ("scriptlet_failed",)),
    Row("failing-postinst", ("scriptlet_failed",)),
    Row("needs-failing-postinst", ("scriptlet_failed",), says="failing-postinst"),
    Row("killed-postinst", ("scriptlet_failed",)),
    Row("lying-postinst", ("scriptlet_failed",)),
    Row("needs-full-lying-preinst", ("file_conflict",)),
    Row("mounted-lying-postinst", ("scriptlet_failed",)),
    Row("hungry-postinst", ("out_of_memory",)),
    Row("hanging-postinst", ("timeout",), slow=True),
    Row("truncated", ("install_failed",), says="damaged"),
    Row("wrong-checksum", ("checksum_mismatch",), repository="wrong_checksum"),
    Row("good-signed", ("signature_invalid",), repository="wrong_signature"),
    Row("good-signed", ("signature_invalid",), repository="unsigned"),
    Row(
        "good-signed",
        ("repository_unreachable",),
        outcome="errored",
        repository="no_key",
        says="does not contain a signing key",
    ),
    Row("good-all", ("repository_unreachable",), outcome="errored", repository="nowhere"),
    Row("good-all", ("repository_unreachable",), outcome="errored", repository="silent", slow=True),
    Row("missing-library", ("missing_library",)),
    Row("bad-rpath", ("bad_rpath",)),
    Row("missing-interpreter", ("missing_file",), says="/usr/bin/python2"),
    Row("broken-symlink", ("broken_symlink",)),
    Row("deleted-file", ("missing_file",)),
    Row("changed-file", ("modified_file",)),
    Row("changed-conffile", ("modified_file",), outcome="passed"),
    Row("failing-prerm", ("scriptlet_failed",)),
    Row("failing-postrm", ("scriptlet_failed",)),
    Row("failing-purge", ("scriptlet_failed",)),
    Row("hanging-prerm", ("timeout",), slow=True),
    Row("leftover-etc", ("leftover_file",)),
    Row("leftover-var", ("leftover_file",)),
    Row("leftover-user", ("leftover_user",)),
    Row("leftover-diversion", ("leftover_file",), says="/var/lib/dpkg/diversions"),
    Row("changed-program", ("modified_file",), says="/usr/bin/env"),
    Row("changed-user", ("leftover_user",), says="games"),
    Row("leftover-process", ("process_left_running",)),
    Row("leftover-cron", ("leftover_file",)),
    Row("hello", outcome="passed", plan="full"),
    Row("hello-traditional", ("scriptlet_failed",), plan="full", says="pre-installation"),
    # Fails on reinstall, and again on the installation after the purge.
    Row("once-only", ("scriptlet_failed", "leftover_file", "scriptlet_failed"), plan="full"),
    # The oldest and the newest Debian word their messages differently.
    Row("good-signed", outcome="passed", repository="signed_and_trusted"),
    Row("good-signed", outcome="passed", repository="signed_and_trusted", distribution="11"),
    Row("good-signed", outcome="passed", repository="signed_and_trusted", distribution="13"),
    Row("good-signed", outcome="passed", repository="signed", distribution="11"),
    Row("good-signed", outcome="passed", repository="signed", distribution="13"),
    Row("good-signed", outcome="passed", repository="several_keys"),
    Row("good-signed", outcome="passed", repository="several_keys", distribution="11"),
    Row("good-signed", outcome="passed", repository="several_keys", distribution="13"),
    Row("good-signed", ("signature_invalid",), repository="wrong_signature", distribution="11"),
    Row("good-signed", ("signature_invalid",), repository="wrong_signature", distribution="13"),
    Row("needs-middle", ("dependency_unmet",), distribution="13", says="middle needs nothing-has-this (>= 7): no"),
    Row("conflicts-with-system", ("package_conflict",), distribution="11"),
    Row("failing-postinst", ("scriptlet_failed",), distribution="13"),
    Row("truncated", ("install_failed",), distribution="13"),
    Row("good-user", outcome="passed", distribution="13"),
)
