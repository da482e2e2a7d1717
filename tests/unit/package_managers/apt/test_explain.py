"""Dependency failures in plain words, from apt's output on Debian 12."""

from __future__ import annotations

from alts.core.command import Completed
from alts.package_managers.apt.manager import Apt
from alts.shared.models.report import Finding, Kind
from tests.support.builders import a_spec

APT = Apt()
HELD = "E: Unable to correct problems, you have held broken packages.\n"


def done(output: str, exit_code: int = 0) -> Completed:
    return Completed(argv=("apt-get",), exit_code=exit_code, output=output, seconds=0.1)


def explained(package: str, block: str, *, depends: str, policy: str = "", show: str = "") -> list[Finding]:
    failed = done(f"The following packages have unmet dependencies:\n{block}", 100)
    queries = APT.why(a_spec(package_name=package), failed)
    assert len(queries.argvs) == 3
    return list(queries.read([depends, policy, show]))


def policy(**candidates: str) -> str:
    return "".join(
        f"{name.replace('_', '-')}:\n  Installed: (none)\n  Candidate: {version or '(none)'}\n  Version table:\n"
        for name, version in candidates.items()
    )


def test_the_shortest_chain_leads_from_the_package_to_what_is_missing() -> None:
    [finding] = explained(
        "bad",
        f" middle : Depends: nothing-has-this (>= 7) but it is not installable\n{HELD}",
        depends="bad\n  Depends: long-way\n  Depends: middle\nlong-way\n  Depends: middle\nmiddle\n"
        "  Depends: <nothing-has-this>\n<nothing-has-this>\n",
    )

    assert finding.kind is Kind.DEPENDENCY_UNMET
    assert finding.message == "bad needs middle, middle needs nothing-has-this (>= 7): no repository has it"
    assert finding.evidence == "middle : Depends: nothing-has-this (>= 7) but it is not installable"


def test_a_virtual_package_is_followed_to_who_provides_it() -> None:
    [finding] = explained(
        "bad",
        f" provider : Depends: gone but it is not installable\n{HELD}",
        depends="bad\n  Depends: <virtual>\n    provider\nprovider\n  Depends: <gone>\n",
    )

    assert finding.message == "bad needs provider, provider needs gone: no repository has it"


def test_what_is_there_in_another_version_is_named() -> None:
    [finding] = explained(
        "bad",
        f" bad : Depends: good (>= 3) but it is not going to be installed\n{HELD}",
        depends="bad\n  Depends: good\ngood\n",
        policy=policy(good="1:1.0-1"),
    )

    # An epoch outweighs everything: 1:1.0-1 is newer than 3.
    assert finding.message == "bad needs good (>= 3): apt cannot install it together with the other packages"

    [finding] = explained(
        "bad",
        f" bad : Depends: good (>= 3) but it is not going to be installed\n{HELD}",
        depends="bad\n  Depends: good\ngood\n",
        policy=policy(good="1.0"),
    )
    assert finding.message == "bad needs good (>= 3): only 1.0 is available"


def test_a_virtual_package_that_only_another_version_provides_is_not_said_to_be_nowhere() -> None:
    # perl-base 5.32 provides it, and the machine cannot do without 5.36.
    [finding] = explained(
        "bad", f" bad : Depends: perlapi-5.32.0\n{HELD}", depends="bad\n  Depends: <perlapi-5.32.0>\n"
    )

    assert finding.message == "bad needs perlapi-5.32.0: apt cannot install any package that provides it"


def test_every_alternative_is_accounted_for() -> None:
    [finding] = explained(
        "bad",
        f"E: said on another channel\n bad : Depends: one but it is not installable or\n"
        f"                two (>= 3) but 1.0 is to be installed\n{HELD}",
        depends="bad\n |Depends: <one>\n  Depends: two\ntwo\n",
        policy=policy(one="", two="1.0"),
    )

    assert finding.message == "bad needs one: no repository has it, or two (>= 3): only 1.0 is available"


def test_only_what_is_at_fault_itself_is_named_and_in_a_fixed_order() -> None:
    findings = explained(
        "bad",
        " bad : Depends: middle but it is not going to be installed\n"
        "       Depends: zzz but it is not installable\n"
        "       Recommends: nice but it is not installable\n"
        f" middle : Depends: aaa but it is not installable\n{HELD}",
        depends="bad\n  Depends: middle\n  Depends: <zzz>\nmiddle\n  Depends: <aaa>\n",
        policy=policy(middle="1.0"),
    )

    assert [finding.message for finding in findings] == [
        "bad needs middle, middle needs aaa: no repository has it",
        "bad needs zzz: no repository has it",
    ]


def test_a_conflict_deep_down_is_a_conflict() -> None:
    [finding] = explained(
        "bad",
        f" rival-b : Conflicts: rival-a but 1.0 is to be installed\n{HELD}",
        depends="bad\n  Depends: rival-a\n  Depends: rival-b\nrival-a\nrival-b\n",
    )

    assert finding.kind is Kind.PACKAGE_CONFLICT
    assert finding.message == "bad needs rival-b, rival-b conflicts with rival-a, but 1.0 is to be installed"


def test_a_package_that_would_break_the_system_is_in_conflict_with_it() -> None:
    [finding] = explained(
        "bad",
        " apt : Depends: libc6 (>= 2.34) but it is not installable\n base-files : PreDepends: awk\n"
        "E: Error, pkgProblemResolver::Resolve generated breaks, this may be caused by held packages.\n",
        depends="bad\n",
        show="Package: bad\nVersion: 1\nBreaks: libc6\n",
    )

    assert finding.kind is Kind.PACKAGE_CONFLICT
    assert finding.message == "installing bad would break packages of the machine (Breaks: libc6)"


def test_nothing_is_asked_where_nothing_is_unmet() -> None:
    queries = APT.why(a_spec(), done("E: Essential packages were removed\n", 100))

    assert queries.argvs == ()
    assert queries.read(()) == ()
