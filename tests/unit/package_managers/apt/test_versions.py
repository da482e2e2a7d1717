"""The order of Debian versions, compared with dpkg itself if it is installed."""

from __future__ import annotations

import itertools
import shutil
import subprocess

import pytest

from alts.package_managers.apt.versions import compare, satisfies, version_key

# From Debian Policy 5.6.12 and dpkg's own tests.
ORDERED = [
    "0~~",
    "0~~a",
    "0~",
    "0",
    "1.0~rc1+b1",
    "1.0~rc1+b2",
    "1.0",
    "1.0-0.1",
    "1.0-1~bpo12+1",
    "1.0-1",
    "1.0-1+b1",
    "1.0a",
    "1.0+dfsg-1",
    "1.0.1",
    "1.2-1-1",
    "1.9",
    "1.10",
    "1:0.1",
    "10:0",
]


def test_versions_are_ordered_as_the_policy_says() -> None:
    assert sorted(sorted(ORDERED), key=version_key) == ORDERED
    assert compare("1.0", "1.00") == compare("0:1", "1") == compare("1", "1-0") == 0


@pytest.mark.parametrize("text", ["", "1_2", "(none)"])
def test_what_is_not_a_version_is_older_than_all(text: str) -> None:
    assert compare(text, ORDERED[0]) < 0


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="no dpkg on this machine")
@pytest.mark.parametrize(("one", "other"), list(itertools.pairwise(ORDERED)))
def test_dpkg_agrees(one: str, other: str) -> None:
    subprocess.run(["dpkg", "--compare-versions", one, "lt", other], check=True)


@pytest.mark.parametrize(
    ("requirement", "version", "met"),
    [
        ("libfoo", "1", True),
        ("libfoo (>= 1:3)", "4", False),
        ("libfoo (= 1.0)", "1.0", True),
        ("libfoo:any (<< 2)", "2", False),
        ("libfoo (>> 2)", "2-1", True),
        ("libfoo (<= 2)", "2", True),
    ],
)
def test_a_requirement_is_met_or_not(requirement: str, version: str, *, met: bool) -> None:
    assert satisfies(requirement, version) is met
