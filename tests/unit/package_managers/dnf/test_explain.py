"""libsolv's rules, from the output of dnf 4.14, in plain words; and the order of RPM versions."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alts.core.command import Completed
from alts.package_managers.base import Candidate
from alts.package_managers.dnf.explain import missing_needs, problem_findings
from alts.package_managers.dnf.manager import Dnf
from alts.package_managers.dnf.names import bare_name, full_name
from alts.package_managers.dnf.versions import compare, version_key
from alts.shared.models.report import Kind
from tests.support.builders import a_spec

MISSING = """\
Error:
 Problem: conflicting requests
  - nothing provides nothing-has-this >= 7 needed by bad-1.0-1.noarch
(try to add '--skip-broken' to skip uninstallable packages or '--nobest' to use not only best candidate packages)
"""
CHAIN = """\
Error:
 Problem: package bad-1.0-1.noarch requires middle, but none of the providers can be installed
  - conflicting requests
  - nothing provides nothing-has-this >= 7 needed by middle-1.0-1.noarch
"""
BY_SONAME = """\
Error:
 Problem: package bad-4.18-1.x86_64 requires librpmio.so.9()(64bit), but none of the providers can be installed
  - package bad-4.18-1.x86_64 requires librpmio9, but none of the providers can be installed
  - package librpmio9-4.18-1.x86_64 requires libgcrypt.so.20()(64bit), but none of the providers can be installed
  - conflicting requests
  - nothing provides /bin/dash needed by libgcrypt20-1.10-3.x86_64
"""
TWO = """\
Error:
 Problem 1: conflicting requests
  - nothing provides one needed by bad-1.0-1.noarch
 Problem 2: package bad-1.0-1.noarch requires middle, but none of the providers can be installed
  - nothing provides two needed by middle-1.0-1.noarch
"""
CONFLICT = """\
Error:
 Problem: problem with installed package bash-5.2.15-2+b13.std9.x86_64
  - package bad-1.0-1.noarch conflicts with bash provided by bash-5.2.15-2+b13.std9.x86_64
  - conflicting requests
"""
RIVALS = """\
Error:
 Problem: package rival-b-1.0-1.noarch conflicts with rival-a provided by rival-a-1.0-1.noarch
  - package bad-1.0-1.noarch requires rival-b, but none of the providers can be installed
  - package bad-1.0-1.noarch requires rival-a, but none of the providers can be installed
  - conflicting requests
"""
PROTECTED = """\
Error:
 Problem: The operation would result in removing the following protected packages: dnf
"""

OUTPUTS = {
    "missing": (MISSING, Kind.DEPENDENCY_UNMET, "bad needs nothing-has-this >= 7: no repository has it"),
    "chain": (
        CHAIN,
        Kind.DEPENDENCY_UNMET,
        "bad needs middle, middle needs nothing-has-this >= 7: no repository has it",
    ),
    "by-soname": (
        BY_SONAME,
        Kind.DEPENDENCY_UNMET,
        "bad needs librpmio9, librpmio9 needs libgcrypt.so.20()(64bit) of libgcrypt20, libgcrypt20 needs /bin/dash",
    ),
    "conflict": (CONFLICT, Kind.PACKAGE_CONFLICT, "bad conflicts with bash"),
    "rivals": (RIVALS, Kind.PACKAGE_CONFLICT, "bad needs rival-b, rival-b conflicts with rival-a"),
    "protected": (PROTECTED, Kind.PACKAGE_CONFLICT, "installing bad would remove protected packages: dnf"),
}


@pytest.mark.parametrize(("output", "kind", "message"), OUTPUTS.values(), ids=OUTPUTS)
def test_a_problem_is_told_from_the_package_on(output: str, kind: Kind, message: str) -> None:
    [finding] = problem_findings("bad", output, {})

    assert finding.kind is kind
    assert message in finding.message
    assert finding.evidence in output


def test_each_problem_is_a_finding() -> None:
    assert [finding.message for finding in problem_findings("bad", TWO, {})] == [
        "bad needs one: no repository has it",
        "bad needs middle, middle needs two: no repository has it",
    ]


def test_what_can_be_had_instead_is_said() -> None:
    output = MISSING.replace("nothing-has-this", "good")
    dnf, spec = Dnf(), a_spec(dist_name="almalinux", dist_version="9", package_name="bad")
    failed = Completed(argv=("dnf",), exit_code=1, output=output, seconds=0.1)
    queries = dnf.why(spec, failed)

    [finding] = queries.read(["good|0|1.10|1\ngood|0|1.9|1\nprovider|0|8|1\n"])

    [argv] = queries.argvs
    assert argv[-1] == "--whatprovides=good"
    assert finding.message == "bad needs good >= 7: only 1.9-1, 1.10-1 are available"


def test_what_is_missing_is_asked_for_once() -> None:
    assert missing_needs(MISSING + MISSING + CHAIN) == ("nothing-has-this >= 7",)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("bash-5.2.15-2+b13.std9.x86_64", "bash"),
        ("python3-dnf-4.14.0-3.noarch", "python3-dnf"),
        ("a-1:2.0-1.noarch", "a"),
        ("plain", "plain"),
    ],
)
def test_the_name_is_found_in_a_full_name(text: str, name: str) -> None:
    assert bare_name(text) == name


# From rpm's own tests/rpmvercmp.at.
ORDERED = [
    ("1.0", "1.0", 0),
    ("1.0", "2.0", -1),
    ("2.0.1", "2.0.1a", -1),
    ("5.5p1", "5.5p2", -1),
    ("5.5p10", "5.5p1", 1),
    ("10xyz", "10.1xyz", -1),
    ("xyz10", "xyz10.1", -1),
    ("xyz.4", "8", -1),
    ("5.5p2", "5.6p1", -1),
    ("6.0.rc1", "6.0", 1),
    ("10b2", "10a1", 1),
    ("1.0aa", "1.0a", 1),
    ("10.0001", "10.1", 0),
    ("4.999.9", "5.0", -1),
    ("20101121", "20101122", -1),
    ("2_0", "2.0", 0),
    ("1.0~rc1", "1.0", -1),
    ("1.0~rc1", "1.0~rc2", -1),
    ("1.0~rc1~git123", "1.0~rc1", -1),
    ("1.0^", "1.0", 1),
    ("1.0^git1", "1.0.1", -1),
    ("1.0^git1", "1.01", -1),
    ("1.0^20160101", "1.0.1", -1),
    ("1.0~rc1^git1", "1.0~rc1", 1),
    ("1.0^git1~pre", "1.0^git1", -1),
    ("1:1.0-1", "2.0-1", 1),
    ("1.0-2", "1.0-10", -1),
]


@pytest.mark.parametrize(("one", "other", "order"), ORDERED)
def test_versions_are_compared_as_rpm_does(one: str, other: str, order: int) -> None:
    assert (compare(one, other) > 0) - (compare(one, other) < 0) == order
    assert (compare(other, one) > 0) - (compare(other, one) < 0) == -order


versions = st.from_regex(r"[0-9a-z.~^]{1,8}", fullmatch=True)


@given(st.lists(versions, max_size=5))
def test_the_order_of_versions_does_not_depend_on_where_one_begins(words: list[str]) -> None:
    ordered = sorted(words, key=version_key)

    assert all(compare(one, other) <= 0 for one, other in itertools.pairwise(ordered))


def test_an_epoch_is_always_said_to_dnf() -> None:
    assert full_name("a", "2.0-1") == "a-0:2.0-1"
    assert Dnf().upgrade_base(a_spec(dist_name="almalinux", dist_version="9"), Candidate("2-1", "x"), []) is None
