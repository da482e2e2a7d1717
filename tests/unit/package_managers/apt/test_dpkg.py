"""What dpkg knows of files, and of packages beside the one under test."""

from __future__ import annotations

import pytest

from alts.core.command import Completed
from alts.package_managers.apt.dpkg import DpkgState
from tests.support.builders import a_spec

DPKG = DpkgState()
SETTINGS = """\
# Drop documentation
path-exclude=/usr/share/doc/*
path-include=/usr/share/doc/*/copyright
path-exclude /usr/share/man/*
force-unsafe-io
"""


def done(output: str) -> Completed:
    return Completed(argv=(), exit_code=0, output=output, seconds=0.0)


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
    assert DPKG.read_exclusions(done(SETTINGS))(path) is excluded


def test_without_settings_everything_is_unpacked() -> None:
    assert not DPKG.read_exclusions(done(""))("/usr/share/doc/hello/NEWS.gz")


def test_what_goes_well_with_a_package_is_named_without_versions() -> None:
    relations = "python3-doc, www-browser | firefox-esr (>= 91),libfoo-dev:any,\n"

    assert DPKG.read_optional(done(relations)) == {"python3-doc", "www-browser", "firefox-esr", "libfoo-dev"}
    assert DPKG.read_optional(done(",,\n")) == frozenset()
    assert DPKG.optional_argv(a_spec())[-1] == "hello"


def test_every_file_of_every_package_is_read() -> None:
    assert DPKG.read_every_owned_file("/.\n/usr\n/usr/bin/hello\n") == {"/usr", "/usr/bin/hello"}


def test_others_are_named_in_one_order() -> None:
    assert DPKG.install_others_argv({"b": "2", "a:i386": "1:1"})[-2:] == ("a:i386=1:1", "b=2")
    assert DPKG.remove_others_argv(["b", "a"])[-4:] == ("purge", "--", "a", "b")
