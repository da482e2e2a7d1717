"""dpkg's knowledge of files, and of packages besides the one under test."""

from __future__ import annotations

import pytest

from alts.package_managers.apt.dpkg import DpkgState
from alts.package_managers.apt.manager import Apt
from tests.support.builders import a_spec

APT, DPKG = Apt(), DpkgState()
SETTINGS = """\
# Drop documentation
path-exclude=/usr/share/doc/*
path-include=/usr/share/doc/*/copyright
path-exclude /usr/share/man/*
force-unsafe-io
"""


@pytest.mark.parametrize(
    ("path", "excluded"),
    [
        ("/usr/share/doc/hello/NEWS.gz", True),
        ("/usr/share/doc/hello/copyright", False),
        ("/usr/share/man/man1/hello.1.gz", True),
        ("/usr/bin/hello", False),
    ],
)
def test_the_last_setting_that_matches_decides_what_is_left_out(path: str, *, excluded: bool) -> None:
    assert DPKG.exclusions().read(SETTINGS)(path) is excluded


def test_without_settings_everything_is_unpacked() -> None:
    assert not DPKG.exclusions().read("")("/usr/share/doc/hello/NEWS.gz")


def test_what_goes_well_with_a_package_is_named_without_versions() -> None:
    relations = "python3-doc, www-browser | firefox-esr (>= 91),libfoo-dev:any,\n"

    assert DPKG.optional(a_spec()).read(relations) == {"python3-doc", "www-browser", "firefox-esr", "libfoo-dev"}
    assert DPKG.optional(a_spec()).read(",,\n") == frozenset()
    assert DPKG.optional(a_spec()).argv[-1] == "hello"


def test_every_file_of_every_package_is_read() -> None:
    assert DPKG.every_owned_file().read("/.\n/usr\n/usr/bin/hello\n") == {"/usr", "/usr/bin/hello"}


def test_what_dpkg_keeps_of_a_removed_package_is_to_be_purged() -> None:
    output = (
        "dpkg\t1.21\tamd64\tinstalled\nhello\t2.10\tamd64\tconfig-files\nlibc6\t2.36\ti386\tconfig-files\n"
        "half\t1\tall\thalf-installed\nnever\t\t\tnot-installed\n"
    )

    assert APT.unpurged(output) == {"hello", "libc6:i386", "half"}
    assert APT.installed_packages().read(output) == {"dpkg": "1.21"}


def test_others_are_named_in_one_order() -> None:
    assert APT.install_others(a_spec(), {"b": "2", "a:i386": "1:1"}).argv[-2:] == ("a:i386=1:1", "b=2")
    assert APT.remove_others(["b", "a"]).argv[-4:] == ("purge", "--", "a", "b")
